import { Broken, type Field, fieldsOf, textOf, walkExtensions } from './wire-fields.ts'

/**
 * The second evaluator: a naive reading of the facts about ztunnel's policies, from the bytes of the resources to the
 * verdict, slow and with nothing in common with `#policy`. Whatever it cannot read closes: an ALLOW matches nothing
 * with it, a DENY everything.
 */
export type Resource = Readonly<{ name: string; bytes: Uint8Array }>
export type Workload = Readonly<{ namespace: string; policies: readonly string[] }>
export type Call = Readonly<{ source: string; peer: string | undefined; address: string; port: number }>
export type Answer = Readonly<{ verdict: 'allow' | 'deny'; denying: string[]; allowing: string[] }>

const bitsOf = (bytes: Iterable<number>) => [...bytes].map((b) => b.toString(2).padStart(8, '0')).join('')

function bitsOfAddress(address: string): string {
  if (!address.includes(':')) return bitsOf(address.split('.').map(Number))
  const [head = '', tail] = address.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((g) => Number.parseInt(g, 16)))
  const [left, right] = [groups(head), groups(tail ?? '')]
  const all = [...left, ...Array(8 - left.length - right.length).fill(0), ...right]
  return all.map((group) => group.toString(2).padStart(16, '0')).join('')
}

/** undefined: it cannot be read. */
type Holds = boolean | undefined

function stringHolds(bytes: Uint8Array, text: string | undefined): Holds {
  let holds: Holds
  let known = true
  for (const { number, type, bytes: inner } of fieldsOf(bytes)) {
    const wanted = type === 2 ? textOf(inner) : undefined
    if (type !== 2 || number > 4) known = false
    else if (number === 4) known &&= fieldsOf(inner).length === 0
    else if (wanted === undefined) known = false
    if (text === undefined || wanted === undefined) holds = false
    else
      holds =
        [text === wanted, text.startsWith(wanted), text.endsWith(wanted), text !== ''][number - 1] === true
  }
  return known ? holds : undefined
}

function blockHolds(bytes: Uint8Array, address: string): Holds {
  let block = ''
  let length = 0
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1 && field.type === 2) block = bitsOf(field.bytes)
    else if (field.number === 2 && field.type === 0) length = field.value
    else return undefined
  }
  if ((block.length !== 32 && block.length !== 128) || length > block.length) return undefined
  const mapped = '0'.repeat(80) + '1'.repeat(16)
  const prefix = block.slice(0, length)
  const bits = bitsOfAddress(address)
  if (prefix.startsWith(mapped)) return bits.length === 32 && bits.startsWith(prefix.slice(96))
  return bits.length === block.length && bits.startsWith(prefix)
}

function accountHolds(bytes: Uint8Array, peer: readonly string[]): Holds {
  const parts: (string | undefined)[] = ['', '']
  for (const field of fieldsOf(bytes)) {
    if (field.type !== 2 || field.number > 2) return undefined
    parts[field.number - 1] = textOf(field.bytes)
  }
  return parts.every(Boolean) ? parts[0] === peer[2] && parts[1] === peer[4] : undefined
}

function portHolds(value: number, port: number): Holds {
  return value >= 1 && value <= 65_535 ? value === port : undefined
}

/** Every kind holds; of a positive list some value, of a negative one none. A match without lists never holds. */
function matchHolds(bytes: Uint8Array, call: Call): Holds {
  const peer = call.peer?.replace('spiffe://', '')
  const parts = peer?.split('/') ?? []
  const lists = new Map<number, Holds[]>()
  const fields = fieldsOf(bytes)
  walkExtensions(fields, 13)
  for (const { number, type, value, bytes: inner } of fields) {
    const list = lists.get(number) ?? []
    lists.set(number, list)
    if (number > 12 || (type !== 2 && (type !== 0 || (number !== 9 && number !== 10)))) list.push(undefined)
    else if (number <= 2) list.push(stringHolds(inner, parts[2] ?? ''))
    else if (number <= 4) list.push(stringHolds(inner, peer))
    else if (number <= 8) list.push(blockHolds(inner, number <= 6 ? call.source : call.address))
    else if (number >= 11) list.push(accountHolds(inner, parts))
    else if (type === 0) list.push(portHolds(value, call.port))
    else for (const port of packed(inner)) list.push(portHolds(port, call.port))
    if (list.length === 0) lists.delete(number)
  }
  if ([...lists.values()].flat().includes(undefined)) return undefined
  if (lists.size === 0) return false
  const negative = (number: number) => [2, 4, 6, 8, 10, 12].includes(number)
  return [...lists].every(([number, list]) => list.includes(true) !== negative(number))
}

/** Each number as if it were a field of its own. */
const packed = (bytes: Uint8Array): number[] => {
  const numbers: number[] = []
  for (let rest = bytes; rest.length > 0; ) {
    const length = rest.findIndex((byte) => byte < 128) + 1
    if (length === 0) throw new Broken()
    const [field] = fieldsOf(Uint8Array.of(8, ...rest.subarray(0, length)))
    numbers.push(field?.value ?? 0)
    rest = rest.subarray(length)
  }
  return numbers
}

type Policy = Readonly<{
  name: string
  namespace: string
  scope: number
  action: number
  dry: boolean
  holds: boolean
}>

function read({ name: resource, bytes }: Resource, call: Call): Policy {
  const closed = {
    name: resource,
    namespace: resource.split('/')[0] ?? '',
    scope: 1,
    action: 1,
    dry: false,
    holds: true,
  }
  try {
    const fields = fieldsOf(bytes)
    walkExtensions(fields, 7)
    const last = (number: number, type: number) =>
      fields.findLast((f) => f.number === number && f.type === type)
    const text = (number: number) => textOf(last(number, 2)?.bytes ?? new Uint8Array())
    const [name, namespace] = [text(1), text(2)]
    const [scope, action] = [last(3, 0)?.value ?? 0, last(4, 0)?.value ?? 0]
    const known = ['1/2', '2/2', '3/0', '4/0', '5/2', '6/0']
    const clauseHolds = (children: readonly Field[]): boolean => {
      const own = children.every(({ number, type }) => number === 2 && type === 2)
      const answers = children
        .filter(({ number, type }) => number === 2 && type === 2)
        .map((m) => matchHolds(m.bytes, call) ?? action === 1)
      return own ? answers.length === 0 || answers.includes(true) : action === 1
    }
    const rules = fields
      .filter(({ number, type }) => number === 5 && type === 2)
      .map((rule) => {
        const children = fieldsOf(rule.bytes)
        const own = children.every(({ number, type }) => number === 1 && type === 2)
        const clauses = children
          .filter(({ number, type }) => number === 1 && type === 2)
          .map((c) => clauseHolds(fieldsOf(c.bytes)))
        return own ? clauses.every(Boolean) : action === 1
      })
    const own = fields.every(
      ({ number, type, bytes: b }) =>
        known.includes(`${number}/${type}`) && (number > 2 || textOf(b) !== undefined),
    )
    if (`${namespace}/${name}` !== resource || resource.split('/').length > 2 || name === '') return closed
    const holds = !own || action > 1 || scope > 2 ? action > 0 : rules.includes(true)
    return {
      name: resource,
      namespace: namespace ?? '',
      scope: scope > 2 ? 1 : scope,
      action: Math.min(action, 1),
      dry: (last(6, 0)?.value ?? 0) !== 0,
      holds,
    }
  } catch (error) {
    if (error instanceof Broken) return closed
    throw error
  }
}

/** Any DENY that matches; a policy named but not there; no ALLOW at all; some ALLOW that matches. */
export function oracle(
  resources: readonly Resource[],
  { namespace, policies }: Workload,
  call: Call,
): Answer {
  const all = resources.map((resource) => read(resource, call))
  const mine = all.filter(
    (p) => p.scope === 0 || (p.scope === 1 && p.namespace === namespace) || policies.includes(p.name),
  )
  const real = mine.filter(({ dry }) => !dry)
  const named = (action: number) =>
    mine
      .filter((p) => p.dry && p.action === action && p.holds)
      .map(({ name }) => name)
      .sort()
  const denied = real.some(({ action, holds }) => action === 1 && holds)
  const missing = policies.some((name) => !all.some((p) => p.name === name))
  const allows = real.filter(({ action }) => action === 0)
  const allowed = allows.length === 0 || allows.some(({ holds }) => holds)
  return { verdict: denied || missing || !allowed ? 'deny' : 'allow', denying: named(1), allowing: named(0) }
}
