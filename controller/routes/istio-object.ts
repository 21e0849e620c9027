import { isRecord } from '#base'
import type { Custom } from '#kube'
import { nameOf, namespaceOf } from '../collections/inputs.ts'
import { untold, validateSpec } from '../validation/index.ts'
import { type Field, itemsOf, textOf } from './gateway-api-fields.ts'

/** The parts that VirtualServices and DestinationRules have in common. */
export type IstioObject = Readonly<{
  /** `namespace/name` */
  key: string
  namespace: string
  name: string
  created: string
  /** Empty: everybody sees it. */
  exportTo: readonly string[]
}>

export const specOf = ({ spec }: Custom): Readonly<Record<string, unknown>> => (isRecord(spec) ? spec : {})

export function readIstioObject(object: Custom, problems: string[]): IstioObject {
  const [namespace, name] = [namespaceOf(object), nameOf(object)]
  const exported: Field = { value: specOf(object)['exportTo'], path: 'spec.exportTo', problems }
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    created: object.metadata.creationTimestamp ?? '',
    exportTo: itemsOf(exported).map((item) => textOf(item) ?? '~'),
  }
}

/** What the webhook refuses of an object that is there in spite of it, apart from what is told anyway. */
export const refusedIn = (
  kind: 'VirtualService' | 'DestinationRule',
  { spec }: Custom,
  told: readonly string[],
): readonly string[] => untold(validateSpec('networking.istio.io', kind, spec)?.errors ?? [], told)

export const isVisibleIn = ({ exportTo, namespace }: IstioObject, from: string): boolean =>
  exportTo.length === 0 ||
  exportTo.some((to) => to === '*' || to === from || (to === '.' && namespace === from))

/** A name without a dot is that of a Service beside the object. */
export const absoluteHost = (host: string, namespace: string, domain: string): string =>
  host.includes('.') || host.includes('*') || host === ''
    ? host.toLowerCase()
    : `${host.toLowerCase()}.${namespace}.svc.${domain}`

/** The patterns that cover a name, the most specific first: itself, `*.` and what is after each dot, `*`. */
export function coveringHosts(hostname: string): readonly string[] {
  const labels = hostname.split('.')
  return [hostname, ...labels.slice(1).map((_, n) => `*.${labels.slice(n + 1).join('.')}`), '*']
}

/** A pattern that `coveringHosts` comes up with. */
export const isFindable = (host: string): boolean =>
  !host.includes('*') || host === '*' || /^\*\.[^*]+$/.test(host)

export const byAge = (a: IstioObject, b: IstioObject): number =>
  compared(a.created, b.created) || compared(a.key, b.key)
const compared = (a: string, b: string) => (a === b ? 0 : a < b ? -1 : 1)
