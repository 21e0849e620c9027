import { isRecord, parseCidr } from '#base'
import { security } from '#wire'
import { type Notes, shown } from './problems.ts'

/**
 * One alternative of a rule's clause. `exact`: the match says all that was written. `loose`: parts were left out, so it
 * matches more than was written (right for DENY). Which of the two an ALLOW may use is not decided here.
 */
export type Alternative = Readonly<{ match: security.Match; exact: boolean; any: boolean }>

type Field = Exclude<keyof security.Match, 'extensions'>
/** How the texts of one attribute become one list of the match. */
type Reader = Readonly<{
  field: Field
  not: Field
  read: (text: string, namespace: string) => unknown
  hint: string
}>

const emptyMatch = (): security.Match => ({
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
  extensions: [],
})

/** Matches whoever is one of these, exactly. */
export const onlyPrincipals = (principals: readonly string[]): security.Match => ({
  ...emptyMatch(),
  principals: principals.map((value) => ({ matchType: { $case: 'exact', value } })),
})

/** Presence, suffix, prefix or exact: `*`, `*x`, `x*`, `x` (Istio: StringMatch). */
export function textMatch(text: string): security.StringMatch | undefined {
  if (text === '') return undefined
  if (text === '*') return { matchType: { $case: 'presence', value: {} } }
  if (text.startsWith('*')) return { matchType: { $case: 'suffix', value: text.slice(1) } }
  if (text.endsWith('*')) return { matchType: { $case: 'prefix', value: text.slice(0, -1) } }
  return { matchType: { $case: 'exact', value: text } }
}

function blockOf(text: string): security.Address | undefined {
  const block = parseCidr(text)
  return block && { address: Buffer.from(block.bytes), length: block.length }
}

function portOf(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  return port >= 1 && port <= 65_535 ? port : undefined
}

/** `namespace/account`, or an account of the policy's own namespace; never a pattern. */
function accountOf(text: string, own: string): security.ServiceAccountMatch | undefined {
  const parts = text.split('/')
  if (parts.length > 2 || parts.includes('') || text.includes('*')) return undefined
  const [namespace = '', serviceAccount = ''] = parts.length === 2 ? parts : [own, ...parts]
  return { namespace, serviceAccount }
}

const hints = {
  text: 'a name, a prefix such as "a*", a suffix such as "*a", or "*"',
  account: '"account" or "namespace/account", without patterns',
  block: 'an address or a block such as 10.0.0.0/8',
  port: 'a number from 1 to 65535 in quotes',
} as const
const namespaces: Reader = { field: 'namespaces', not: 'notNamespaces', read: textMatch, hint: hints.text }
const principals: Reader = { field: 'principals', not: 'notPrincipals', read: textMatch, hint: hints.text }
const accounts: Reader = {
  field: 'serviceAccounts',
  not: 'notServiceAccounts',
  read: accountOf,
  hint: hints.account,
}
const sourceIps: Reader = { field: 'sourceIps', not: 'notSourceIps', read: blockOf, hint: hints.block }
const destinationIps: Reader = {
  field: 'destinationIps',
  not: 'notDestinationIps',
  read: blockOf,
  hint: hints.block,
}
const ports: Reader = {
  field: 'destinationPorts',
  not: 'notDestinationPorts',
  read: portOf,
  hint: hints.port,
}

// Maps, because the keys are a user's words and `constructor` is a member of every object.
type Attributes = Readonly<{ layer4: ReadonlyMap<string, Reader>; layer7: readonly string[] }>

const sourceAttributes: Attributes = {
  layer4: new Map([
    ['namespaces', namespaces],
    ['principals', principals],
    ['serviceAccounts', accounts],
    ['ipBlocks', sourceIps],
  ]),
  layer7: ['requestPrincipals', 'remoteIpBlocks'],
}
const operationAttributes: Attributes = {
  layer4: new Map([['ports', ports]]),
  layer7: ['hosts', 'methods', 'paths'],
}

const conditions: ReadonlyMap<string, Reader> = new Map([
  ['source.ip', sourceIps],
  ['source.namespace', namespaces],
  ['source.principal', principals],
  ['destination.ip', destinationIps],
  ['destination.port', ports],
])
/** Keys of `when` that Istio knows and that need a waypoint. */
const layer7Condition =
  /^(request\.headers\[[^\]]+\]|request\.auth\.[\w.]+(\[[^\]]+\])*|remote\.ip|connection\.sni|experimental\..+)$/

/** `ipBlocks` and `notIpBlocks` are one attribute. */
function attributeOf(key: string): Readonly<{ name: string; negative: boolean }> {
  const negative = /^not[A-Z]/.test(key)
  return { name: negative ? key.charAt(3).toLowerCase() + key.slice(4) : key, negative }
}

const namesOf = ({ layer4, layer7 }: Attributes) => [...layer4.keys(), ...layer7].join(', ')

/** A builder of one match that knows whether it still says all that was written. */
function building(notes: Notes, namespace: string) {
  const match = emptyMatch()
  const lists = match as Record<Field, unknown[]>
  let exact = true
  const invalid = (sentence: string) => {
    notes.invalid.push(sentence)
    exact = false
  }
  return {
    invalid,
    layer7(attribute: string) {
      notes.layer7.add(attribute)
      exact = false
    },
    /** An unreadable value of a positive list could be anything, so the list is left out; of a negative one only itself. */
    list(value: unknown, path: string, reader: Reader, negative: boolean) {
      if (!Array.isArray(value) || value.length === 0)
        return invalid(`${path}: ${shown(value)} is not a list of values`)
      const read = value.map((text: unknown) => {
        const entry = typeof text === 'string' ? reader.read(text, namespace) : undefined
        if (entry === undefined) invalid(`${path}: ${shown(text)} cannot be read; ${reader.hint}`)
        return entry
      })
      const good = read.filter((entry) => entry !== undefined)
      if (negative) lists[reader.not].push(...good)
      else if (good.length === read.length) lists[reader.field].push(...good)
    },
    done(): Alternative {
      const any = Object.values(match).every((entries) => entries.length === 0)
      return { match, exact, any }
    },
  }
}

/** One entry of `from` or `to`: the attributes under `property`, and nothing beside it. */
export function readAlternative(
  entry: unknown,
  path: string,
  property: 'source' | 'operation',
  notes: Notes,
  namespace: string,
): Alternative {
  const built = building(notes, namespace)
  const { [property]: value, ...rest } = isRecord(entry) ? entry : {}
  const attributes = property === 'source' ? sourceAttributes : operationAttributes
  for (const unknown of Object.keys(rest)) built.invalid(`${path}.${unknown}: unknown`)
  if (!isRecord(value) || Object.keys(value).length === 0) {
    built.invalid(`${path}.${property}: ${shown(value)} says nothing`)
    return built.done()
  }
  for (const [key, list] of Object.entries(value)) {
    const { name, negative } = attributeOf(key)
    const reader = attributes.layer4.get(name)
    if (reader) built.list(list, `${path}.${property}.${key}`, reader, negative)
    else if (attributes.layer7.includes(name)) built.layer7(key)
    else
      built.invalid(
        `${path}.${property}.${key}: unknown; one of ${namesOf(attributes)}, or one of these with not`,
      )
  }
  return built.done()
}

/** One condition of `when`. */
export function readCondition(value: unknown, path: string, notes: Notes, namespace: string): Alternative {
  const built = building(notes, namespace)
  const { key, values, notValues, ...rest } = isRecord(value) ? value : {}
  const reader = typeof key === 'string' ? conditions.get(key) : undefined
  for (const unknown of Object.keys(rest)) built.invalid(`${path}.${unknown}: unknown`)
  if (typeof key === 'string' && layer7Condition.test(key)) built.layer7(key)
  else if (!reader)
    built.invalid(
      `${path}.key: ${shown(key)} is not known; ${[...conditions.keys()].join(', ')}, or one that needs a waypoint`,
    )
  else if (values === undefined && notValues === undefined)
    built.invalid(`${path}: neither values nor notValues`)
  else {
    if (values !== undefined) built.list(values, `${path}.values`, reader, false)
    if (notValues !== undefined) built.list(notValues, `${path}.notValues`, reader, true)
  }
  return built.done()
}
