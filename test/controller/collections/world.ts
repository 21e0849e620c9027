import { ipFromBytes } from '#base'
import {
  type Custom,
  type EndpointSlice,
  fixed,
  type KubeNode,
  keyOf,
  type KubeObject,
  type Namespace,
  type Pod,
  type Service,
} from '#kube'
import { pod as podOf, service as serviceOf } from '../objects.ts'
import type { security, workload } from '#wire'
import {
  defaultLiveSettings,
  type Inputs,
  liveKey,
  type LiveSettings,
  meshFrom,
  type Settings,
} from '../../../controller/collections/index.ts'
import { trimNode, trimPod } from '../../../controller/collections/trims.ts'

export const settings: Settings = {
  clusterId: 'Kubernetes',
  trustDomain: 'cluster.local',
  domain: 'cluster.local',
  rootNamespace: 'istio-system',
  dryRunPolicies: false,
  revision: 'default',
  allowWaypoints: false,
}

export type Objects = Readonly<{
  pods?: readonly Pod[]
  services?: readonly Service[]
  slices?: readonly EndpointSlice[]
  namespaces?: readonly Namespace[]
  nodes?: readonly KubeNode[]
  policies?: readonly Custom[]
  peers?: readonly Custom[]
  serviceEntries?: readonly Custom[]
  workloadEntries?: readonly Custom[]
  gateways?: readonly Custom[]
  gatewayClasses?: readonly Custom[]
  live?: Partial<LiveSettings>
  settings?: Partial<Settings>
}>

const rows = <T extends KubeObject>(name: string, list: readonly T[] = []) =>
  fixed(name, Object.fromEntries(list.map((row) => [keyOf(row), row])))

/** A few objects, as collections. */
export const inputsOf = (o: Objects): Inputs => ({
  pods: rows('pods', o.pods?.map(trimPod)), // as the reflector holds them
  services: rows('services', o.services),
  slices: rows('slices', o.slices),
  namespaces: rows('namespaces', o.namespaces),
  nodes: rows('nodes', o.nodes?.map(trimNode)),
  authorizationPolicies: rows('policies', o.policies),
  peerAuthentications: rows('peers', o.peers),
  serviceEntries: rows('serviceEntries', o.serviceEntries),
  workloadEntries: rows('workloadEntries', o.workloadEntries),
  gateways: rows('gateways', o.gateways),
  gatewayClasses: rows('gatewayClasses', o.gatewayClasses),
  meshConfig: fixed('meshConfig', { [liveKey]: { ...defaultLiveSettings, ...o.live } }),
})

/** The mesh of a few objects. */
export const meshOf = (o: Objects) => meshFrom(inputsOf(o), { ...settings, ...o.settings })

export const ips = (list: readonly Uint8Array[]) => list.map((bytes) => ipFromBytes(bytes))

/** A rule as a sentence: `principals=a|b & !ports=80`; clauses by ` AND `, alternatives by ` OR `, rules by ` ; `. */
export const sentence = ({ rules }: Pick<security.Authorization, 'rules'>): string =>
  rules.length === 0
    ? 'nothing'
    : rules
        .map(({ clauses }) =>
          clauses.length === 0
            ? 'everything'
            : clauses.map(({ matches }) => matches.map(matchText).join(' OR ')).join(' AND '),
        )
        .join(' ; ')

const text = ({ matchType: m }: security.StringMatch) =>
  m?.$case === 'exact'
    ? m.value
    : m?.$case === 'prefix'
      ? `${m.value}*`
      : m?.$case === 'suffix'
        ? `*${m.value}`
        : '*'
const block = ({ address, length }: security.Address) => `${ipFromBytes(address)}/${length}`
const account = ({ namespace, serviceAccount }: security.ServiceAccountMatch) =>
  `${namespace}/${serviceAccount}`

function matchText(m: security.Match): string {
  const parts: [string, readonly unknown[]][] = [
    ['namespaces', m.namespaces.map(text)],
    ['!namespaces', m.notNamespaces.map(text)],
    ['principals', m.principals.map(text)],
    ['!principals', m.notPrincipals.map(text)],
    ['accounts', m.serviceAccounts.map(account)],
    ['!accounts', m.notServiceAccounts.map(account)],
    ['from', m.sourceIps.map(block)],
    ['!from', m.notSourceIps.map(block)],
    ['to', m.destinationIps.map(block)],
    ['!to', m.notDestinationIps.map(block)],
    ['ports', m.destinationPorts],
    ['!ports', m.notDestinationPorts],
  ]
  return parts
    .filter(([, list]) => list.length > 0)
    .map(([name, list]) => `${name}=${list.join('|')}`)
    .join(' & ')
}

export const portsText = (list: Readonly<Record<string, workload.PortList>>) =>
  Object.entries(list).map(
    ([name, { ports }]) => `${name} ${ports.map((p) => `${p.servicePort}>${p.targetPort}`).join()}`,
  )

export const pod = (o: Record<string, unknown> = {}): Pod => {
  const base = podOf('shop', 'order', { ip: '10.244.1.5' })
  return { ...base, ...o } as unknown as Pod
}
export const service = (
  spec: Record<string, unknown> = {},
  metadata: Record<string, unknown> = {},
): Service => {
  const base = serviceOf('shop', 'order', spec)
  return { ...base, metadata: { ...base.metadata, ...metadata } } as unknown as Service
}
export const namespace = (name: string, metadata: Record<string, unknown> = {}): Namespace => ({
  metadata: { name, ...metadata },
})
export const uid = 'Kubernetes//Pod/shop/order'
export const host = 'shop/order.shop.svc.cluster.local'
export const workloadOf = (o: Objects) => meshOf(o).workloads.get(uid)
export const withMeta = (metadata: Record<string, unknown>, o: Record<string, unknown> = {}) => {
  const p = pod(o)
  return { ...p, metadata: { ...p.metadata, ...metadata } } as Pod
}
