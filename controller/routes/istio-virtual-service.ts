import type { Custom } from '#kube'
import type { SourceMatch } from '#routes'
import { type Field, itemsOf, partsOf, portOf, problem, textOf } from './gateway-api-fields.ts'
import { type Place, readShares, type ReadShare } from './istio-destinations.ts'
import { given, isThere, type Notes } from './istio-fields.ts'
import { type ReadRule, readHttpRule } from './istio-http.ts'
import { isForMesh, sourceOf } from './istio-matches.ts'
import {
  absoluteHost,
  isFindable,
  type IstioObject,
  readIstioObject,
  refusedIn,
  specOf,
} from './istio-object.ts'

/** An entry of the match list of a rule for connections. */
export type L4ReadMatch = Readonly<{
  port: number | undefined
  forMesh: boolean
  sni?: readonly string[]
  source?: SourceMatch
}>
export type ReadL4Rule = Readonly<{
  list: 'tls' | 'tcp'
  index: number
  matches: readonly L4ReadMatch[]
  route: readonly ReadShare[]
  /** With any it closes what it matches. */
  problems: readonly string[]
}>

/** A VirtualService as it is read, its names made absolute. */
export type VirtualService = IstioObject &
  Readonly<{
    /** Absolute. None: it is a delegate. */
    hosts: readonly string[]
    forMesh: boolean
    /** Those that it names besides the mesh. */
    gateways: readonly string[]
    http: readonly ReadRule[]
    /** Those of `tls`, then those of `tcp`. */
    l4: readonly ReadL4Rule[]
    /** What is wrong with it outside its rules. */
    remarks: readonly string[]
    /** What else of it the webhook refuses. */
    refused: readonly string[]
  }>

/** More is somebody else's schema. */
const maxRules = 4_096

export function readVirtualService(object: Custom, domain: string): VirtualService {
  const notes: Notes = { problems: [], remarks: [] }
  const head = readIstioObject(object, notes.problems)
  const spec: Field = { value: specOf(object), path: 'spec', problems: notes.problems }
  const parts = partsOf(spec, ['hosts', 'gateways', 'exportTo', 'http', 'tls', 'tcp'])
  const itemsIn = (field: Field | undefined) => {
    const items = field ? itemsOf(field) : []
    if (field && items.length > maxRules) problem(field, `after ${maxRules} nothing more is looked at`)
    return items.slice(0, maxRules)
  }
  const hosts = itemsIn(parts?.hosts).flatMap((item) => {
    const host = absoluteHost(textOf(item) ?? '', head.namespace, domain)
    return isFindable(host) ? [host] : (problem(item, 'a * is the whole first label') ?? [])
  })
  const at = { namespace: head.namespace, domain }
  const http = itemsIn(parts?.http).map(({ value }, index) => readHttpRule(value, index, at))
  const l4 = [
    ...itemsIn(parts?.tls).map(({ value }, index) => readL4Rule('tls', value, index, at)),
    ...itemsIn(parts?.tcp).map(({ value }, index) => readL4Rule('tcp', value, index, at)),
  ]
  const told = [...http, ...l4].flatMap(({ problems }) => problems)
  return {
    ...head,
    hosts,
    forMesh: isForMesh(parts?.gateways),
    gateways: itemsIn(parts?.gateways).flatMap(({ value }) =>
      typeof value === 'string' && value !== 'mesh' ? [value] : [],
    ),
    http,
    l4,
    remarks: notes.problems,
    refused: refusedIn('VirtualService', object, [...notes.problems, ...told]),
  }
}

function readL4Rule(
  list: 'tls' | 'tcp',
  value: unknown,
  index: number,
  at: Pick<Place, 'namespace' | 'domain'>,
): ReadL4Rule {
  const notes: Notes = { problems: [], remarks: [] }
  const field: Field = { value, path: `spec.${list}[${index}]`, problems: notes.problems }
  const parts = partsOf(field, ['match', 'route'])
  const items = parts ? itemsOf(parts.match) : []
  if (list === 'tls' && items.length === 0) problem(field, 'has no match')
  const route = readShares(parts?.route, { ...at, notes }, false)
  if (route.length === 0) problem(field, 'has no route')
  const all = items.length === 0 ? [{ ...field, value: {} }] : items
  return { list, index, matches: all.map((item) => l4Match(list, item)), route, problems: notes.problems }
}

function l4Match(list: 'tls' | 'tcp', field: Field): L4ReadMatch {
  const parts = partsOf(field, [
    'sniHosts',
    'destinationSubnets',
    'port',
    'sourceLabels',
    'sourceNamespace',
    'sourceSubnet',
    'gateways',
  ])
  for (const one of [parts?.destinationSubnets, parts?.sourceSubnet])
    if (isThere(one)) problem(one, 'cannot be asked for a service')
  const names = parts ? itemsOf(parts.sniHosts).map((item) => (textOf(item) ?? '').toLowerCase()) : []
  if (list === 'tls' && names.length === 0) problem(field, 'has no sniHosts')
  if (list === 'tcp' && isThere(parts?.sniHosts)) problem(parts.sniHosts, 'is not known here')
  return {
    port: portOf(parts?.port),
    forMesh: isForMesh(parts?.gateways),
    ...given({
      // `*` is any name.
      sni: list === 'tls' && names.length > 0 ? names : undefined,
      source: sourceOf(parts?.sourceNamespace, parts?.sourceLabels),
    }),
  }
}
