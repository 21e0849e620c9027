import type { HeaderOps, HeaderValue, Mirror } from '#routes'
import { authorityProblem, headerProblem } from '#routes'
import { parseFormat } from '#telemetry'
import { noHeaders } from './defaults.ts'
import { type Field, itemsOf, numberOf, partsOf, portOf, problem, textOf } from './gateway-api-fields.ts'
import { fractionOf, given, isThere, membersOf, type Notes, ppmOf } from './istio-fields.ts'
import { absoluteHost } from './istio-object.ts'

/** A destination as it is written; the host is absolute. */
export type WrittenDestination = Readonly<{
  host: string
  subset?: string
  port?: number
  path: string
  /** Who names it. */
  namespace: string
}>
/** Headers of a rule or of a share of it; `host` among them is a rewrite. */
export type ReadHeaders = Readonly<{ request: HeaderOps; response: HeaderOps; authority?: string }>
export type ReadShare = Readonly<{ weight: number; to: WrittenDestination; headers?: ReadHeaders }>
export type ReadMirror = Readonly<{ to: WrittenDestination; ppm: Mirror['ppm'] }>

/** Where an object is, for the names in it. */
export type Place = Readonly<{ namespace: string; domain: string; notes: Notes }>

function readDestination(field: Field, { namespace, domain }: Place): WrittenDestination | undefined {
  const parts = partsOf(field, ['host', 'subset', 'port'])
  const host = textOf(parts?.host) ?? ''
  if (host === '') return problem(field, 'has no host')
  const number = isThere(parts?.port) ? portOf(partsOf(parts.port, ['number'])?.number) : undefined
  const subset = textOf(parts?.subset) || undefined
  return {
    host: absoluteHost(host, namespace, domain),
    path: field.path,
    namespace,
    ...given({ subset, port: number }),
  }
}

/** A single one has everything, whatever its weight. */
export function readShares(
  field: Field | undefined,
  place: Place,
  hasHeaders: boolean,
): readonly ReadShare[] {
  const items = field === undefined ? [] : itemsOf(field)
  return items.flatMap((item): readonly ReadShare[] => {
    const parts = partsOf(item, ['destination', 'weight', 'headers'])
    const to = parts && readDestination(parts.destination, place)
    const weight = numberOf(parts?.weight, 0, 1_000_000_000) ?? 0
    const own = isThere(parts?.headers) ? parts.headers : undefined
    if (own && !hasHeaders) problem(own, 'is not known here')
    const headers = own && hasHeaders ? readHeaders(own, place.notes) : undefined
    if (to === undefined) return []
    return [{ weight: items.length === 1 ? 1 : weight, to, ...given({ headers }) }]
  })
}

export function readHeaders(field: Field, notes: Notes): ReadHeaders {
  const parts = partsOf(field, ['request', 'response'])
  const request = readOps(parts?.request, true, notes)
  const { ops: response } = readOps(parts?.response, false, notes)
  return { request: request.ops, response, ...given({ authority: request.authority }) }
}

type ReadOps = Readonly<{ ops: HeaderOps; authority?: string }>

function readOps(field: Field | undefined, isRequest: boolean, notes: Notes): ReadOps {
  const parts = isThere(field) ? partsOf(field, ['set', 'add', 'remove']) : undefined
  if (parts === undefined) return { ops: noHeaders }
  const seen = new Set<string>()
  const hosts: string[] = []
  const once = (one: Field, name: string, value?: string) => {
    const why = headerProblem(name, value) ?? (seen.has(name) ? `${name} is there twice` : undefined)
    seen.add(name)
    if (why !== undefined) problem(one, why)
  }
  const valuesOf = (list: Field, isSet: boolean): readonly HeaderValue[] =>
    membersOf(list).flatMap(([key, one]) => {
      const [name, value] = [key.toLowerCase(), textOf(one) ?? '']
      if (isRequest && isSet && (name === 'host' || name === ':authority')) {
        const why = authorityProblem(value)
        if (why === undefined) hosts.push(value)
        else problem(one, why)
        return []
      }
      if (!value.includes('%')) {
        once(one, name, value)
        return [{ name, value }]
      }
      once(one, name)
      return filledIn(one, name, value, notes)
    })
  const set = valuesOf(parts.set, true)
  const add = valuesOf(parts.add, false)
  const remove = itemsOf(parts.remove).map((item) => {
    const name = (textOf(item) ?? '').toLowerCase()
    once(item, name)
    return name
  })
  return { ops: { set, add, remove }, ...given({ authority: hosts[0] }) }
}

/** A value with Envoy's operators in it. What cannot be filled in is left out, and told. */
function filledIn({ path }: Field, name: string, value: string, { remarks }: Notes): readonly HeaderValue[] {
  const read = parseFormat(value)
  const told = read.kind === 'unreadable' ? [`${read.problem}; the header is left out`] : read.remarks
  remarks.push(...told.map((why) => `${path}: ${why}`))
  if (read.kind === 'unreadable') return []
  const text = read.parts.map((part) => (typeof part === 'string' ? part : undefined))
  return [text.includes(undefined) ? { name, value, template: true } : { name, value: text.join('') }]
}

/** `mirror` with its percentage, or `mirrors` with theirs; without one everything. */
export function readMirrors(
  parts: Readonly<Record<'mirror' | 'mirrors' | 'mirrorPercentage' | 'mirrorPercent', Field>>,
  place: Place,
): readonly ReadMirror[] | undefined {
  const whole = 1_000_000
  if (isThere(parts.mirror) && isThere(parts.mirrors)) problem(parts.mirrors, 'beside mirror')
  const older = isThere(parts.mirrorPercent) ? parts.mirrorPercent : undefined
  for (const percent of [parts.mirrorPercentage, older])
    if (!isThere(parts.mirror) && isThere(percent))
      place.notes.remarks.push(`${percent.path}: without mirror`)
  if (isThere(parts.mirror)) {
    const to = readDestination(parts.mirror, place)
    const percent = older === undefined ? undefined : fractionOf(older, 0, 100)
    const ppm = ppmOf(parts.mirrorPercentage) ?? (percent === undefined ? whole : percent * 10_000)
    return to === undefined ? [] : [{ to, ppm }]
  }
  if (!isThere(parts.mirrors)) return undefined
  return itemsOf(parts.mirrors).flatMap((item): readonly ReadMirror[] => {
    const own = partsOf(item, ['destination', 'percentage'])
    const to = own && readDestination(own.destination, place)
    return to === undefined ? [] : [{ to, ppm: ppmOf(own?.percentage) ?? whole }]
  })
}
