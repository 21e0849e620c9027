import { isRecord } from '#base'
import type { Custom } from '#kube'
import { nameOf, namespaceOf } from './inputs.ts'
import { type LabelSelector, parseLabelSelector, selects } from './label-selector.ts'

/** Whose objects may use a listener, by their namespaces. */
export type AllowedNamespaces =
  | Readonly<{ from: 'Same' | 'All' | 'None' }>
  | Readonly<{ from: 'Selector'; selector: LabelSelector }>

/** One of a Gateway's listeners. */
export type Listener = Readonly<{
  name: string
  port: number
  protocol: string
  /** Empty: any. */
  hostname: string
  allowed: AllowedNamespaces
  /** What `allowedRoutes.kinds` says; undefined when it says nothing. */
  kinds: readonly Readonly<{ group: string; kind: string }>[] | undefined
  /** The Gateway API's default is Terminate. */
  tls: Readonly<{ mode: string; certificates: readonly unknown[] }> | undefined
}>
/** What a Gateway is reached at. */
export type GatewayAddress = Readonly<{ type: 'IPAddress' | 'Hostname'; value: string }>
/** Labels or annotations. */
export type Words = Readonly<Record<string, string>>

/** A Gateway of the Gateway API, as far as we read it. */
export type Gateway = Readonly<{
  key: string
  name: string
  namespace: string
  uid: string
  labels: Words
  annotations: Words
  className: string
  listeners: readonly Listener[]
  /** What the user asks for. */
  addresses: readonly Readonly<{ type: string; value: string }>[]
  /** What was published. */
  published: readonly GatewayAddress[]
  /** Undefined: the Gateway's own are copied. */
  infrastructure: Readonly<{ labels: Words | undefined; annotations: Words | undefined; parameters: unknown }>
  /** Where its spec has fields that nobody here looks at. */
  unheeded: readonly string[]
}>

const specFields = ['gatewayClassName', 'listeners', 'addresses', 'infrastructure']
const listenerFields = ['name', 'port', 'protocol', 'hostname', 'allowedRoutes', 'tls']
const infrastructureFields = ['labels', 'annotations', 'parametersRef']

/** Reads a Gateway; undefined when its spec has no class. Listeners that cannot be read are left out. */
export function readGateway(object: Custom): Gateway | undefined {
  const spec = isRecord(object.spec) ? object.spec : {}
  const { gatewayClassName: className, listeners, addresses, infrastructure } = spec
  if (typeof className !== 'string' || className === '') return undefined
  const { labels, annotations, parametersRef } = isRecord(infrastructure) ? infrastructure : {}
  const status = isRecord(object.status) ? object.status : {}
  return {
    key: `${namespaceOf(object)}/${nameOf(object)}`,
    name: nameOf(object),
    namespace: namespaceOf(object),
    uid: object.metadata.uid ?? '',
    labels: object.metadata.labels ?? {},
    annotations: object.metadata.annotations ?? {},
    className,
    listeners: list(listeners).flatMap(listenerOf),
    addresses: list(addresses).flatMap(addressOf),
    published: list(status['addresses']).flatMap(addressOf).filter(isPublished),
    infrastructure: { labels: wordsOf(labels), annotations: wordsOf(annotations), parameters: parametersRef },
    unheeded: [
      ...otherFields('spec', spec, specFields),
      ...list(listeners).flatMap((one, i) => otherFields(`spec.listeners[${i}]`, one, listenerFields)),
      ...otherFields('spec.infrastructure', infrastructure, infrastructureFields),
    ],
  }
}

const otherFields = (path: string, value: unknown, known: readonly string[]): readonly string[] =>
  Object.keys(isRecord(value) ? value : {})
    .filter((key) => !known.includes(key))
    .map((key) => `${path}.${key}`)

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

function listenerOf(value: unknown): readonly Listener[] {
  const { name, port, protocol, hostname, allowedRoutes, tls } = isRecord(value) ? value : {}
  if (typeof name !== 'string' || typeof port !== 'number' || typeof protocol !== 'string') return []
  const { kinds } = isRecord(allowedRoutes) ? allowedRoutes : {}
  return [
    {
      name,
      port,
      protocol,
      hostname: typeof hostname === 'string' ? hostname.toLowerCase() : '',
      allowed: allowedOf(allowedRoutes),
      kinds: Array.isArray(kinds) && kinds.length > 0 ? kinds.map(kindOf) : undefined,
      tls: isRecord(tls) ? tlsOf(tls) : undefined,
    },
  ]
}

/** What cannot be read is a kind that nobody has. */
function kindOf(value: unknown): Readonly<{ group: string; kind: string }> {
  const { group = 'gateway.networking.k8s.io', kind } = isRecord(value) ? value : {}
  return { group: typeof group === 'string' ? group : '?', kind: typeof kind === 'string' ? kind : '?' }
}

const tlsOf = ({ mode = 'Terminate', certificateRefs }: Readonly<Record<string, unknown>>) => ({
  mode: typeof mode === 'string' ? mode : '?',
  certificates: list(certificateRefs),
})

/** The Gateway API's default is the Gateway's own namespace; what cannot be read lets nobody in. */
function allowedOf(allowedRoutes: unknown): AllowedNamespaces {
  const { namespaces } = isRecord(allowedRoutes) ? allowedRoutes : {}
  const { from = 'Same', selector } = isRecord(namespaces) ? namespaces : {}
  if (from === 'Same' || from === 'All') return { from }
  const parsed = from === 'Selector' ? parseLabelSelector(selector) : undefined
  return parsed === undefined ? { from: 'None' } : { from: 'Selector', selector: parsed }
}

/** May objects of this namespace use it? `home` is the Gateway's own. */
export function letsIn(
  allowed: AllowedNamespaces,
  home: string,
  namespace: string,
  labelsOf: (namespace: string) => Words | undefined,
): boolean {
  switch (allowed.from) {
    case 'Same':
      return namespace === home
    case 'All':
      return true
    case 'Selector':
      return selects(allowed.selector, labelsOf(namespace))
    case 'None':
      return false
  }
}

function addressOf(value: unknown): readonly Readonly<{ type: string; value: string }>[] {
  const { type = 'IPAddress', value: address } = isRecord(value) ? value : {}
  return typeof type === 'string' && typeof address === 'string' ? [{ type, value: address }] : []
}

const isPublished = (address: Readonly<{ type: string; value: string }>): address is GatewayAddress =>
  address.type === 'IPAddress' || address.type === 'Hostname'

const wordsOf = (value: unknown): Words | undefined =>
  isRecord(value)
    ? Object.fromEntries(
        Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
      )
    : undefined
