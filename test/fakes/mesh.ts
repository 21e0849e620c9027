import { ip, ipToBytes } from '#base'
import { security, workload as wire } from '#wire'

const emptyWorkload = () => wire.Workload.decode(new Uint8Array())
const emptyService = () => wire.Service.decode(new Uint8Array())
const bytesOf = (text: string) => Buffer.from(ipToBytes(ip(text)))

export type WorkloadDraft = Partial<Omit<wire.Workload, 'addresses' | 'services' | 'waypoint'>> & {
  name: string
  addresses?: readonly string[]
  /** `namespace/hostname` → service port → target port. */
  services?: Readonly<Record<string, Readonly<Record<number, number>>>>
  waypoint?: string
}

const ports = (map: Readonly<Record<number, number>>): wire.Port[] =>
  Object.entries(map).map(([from, to]) => ({ servicePort: Number(from), targetPort: to, appProtocol: 0 }))

/** `10.0.0.1` or `namespace/hostname`, at the HBONE port. */
export function gateway(text: string, port = 15008): wire.GatewayAddress {
  const [namespace = '', hostname] = text.split('/')
  return hostname === undefined
    ? {
        hboneMtlsPort: port,
        destination: { $case: 'address', value: { network: '', address: bytesOf(text) } },
      }
    : { hboneMtlsPort: port, destination: { $case: 'hostname', value: { namespace, hostname } } }
}

/** A meshed pod of namespace demo, unless the draft says otherwise. */
export function workloadWire(draft: WorkloadDraft): wire.Workload {
  const { addresses = [], services = {}, waypoint, ...rest } = draft
  const namespace = draft.namespace ?? 'demo'
  return {
    ...emptyWorkload(),
    uid: `Kubernetes//Pod/${namespace}/${draft.name}`,
    namespace,
    trustDomain: 'cluster.local',
    serviceAccount: draft.name,
    tunnelProtocol: wire.TunnelProtocol.HBONE,
    workloadName: draft.name,
    canonicalName: draft.name,
    canonicalRevision: 'latest',
    clusterId: 'Kubernetes',
    ...rest,
    addresses: addresses.map(bytesOf),
    services: Object.fromEntries(Object.entries(services).map(([key, map]) => [key, { ports: ports(map) }])),
    waypoint: waypoint === undefined ? undefined : gateway(waypoint),
  }
}

export type ServiceDraft = Partial<Omit<wire.Service, 'addresses' | 'ports' | 'waypoint'>> & {
  name: string
  vips?: readonly string[]
  ports?: Readonly<Record<number, number>>
  waypoint?: string
  /** Of the VIPs. */
  network?: string
}

export function serviceWire(draft: ServiceDraft): wire.Service {
  const { vips = [], ports: map = {}, waypoint, network = '', ...rest } = draft
  const namespace = draft.namespace ?? 'demo'
  return {
    ...emptyService(),
    namespace,
    hostname: `${draft.name}.${namespace}.svc.cluster.local`,
    ...rest,
    addresses: vips.map((vip) => {
      const [address = '', length] = vip.split('/')
      return {
        network,
        address: bytesOf(address),
        ...(length === undefined ? {} : { length: Number(length) }),
      }
    }),
    ports: ports(map),
    waypoint: waypoint === undefined ? undefined : gateway(waypoint),
  }
}

/** As resources of an xDS response. */
export const workloadResource = (draft: WorkloadDraft) => {
  const value = workloadWire(draft)
  return { [value.uid]: { version: '1', bytes: encode({ $case: 'workload', value }) } }
}
export const serviceResource = (draft: ServiceDraft) => {
  const value = serviceWire(draft)
  return {
    [`${value.namespace}/${value.hostname}`]: { version: '1', bytes: encode({ $case: 'service', value }) },
  }
}
const encode = (type: wire.Address['type']) => wire.Address.encode({ type }).finish()

export type PolicyDraft = {
  name: string
  action?: 'allow' | 'deny'
  /** Principals without scheme, any of which matches; none given: no rules. */
  principals?: readonly string[]
  everything?: boolean
}

/** A namespace policy of demo. */
export function policyResource({ name, action = 'allow', principals = [], everything = false }: PolicyDraft) {
  const match: security.Match = {
    ...security.Match.decode(new Uint8Array()),
    principals: principals.map((value) => ({ matchType: { $case: 'exact', value } })),
  }
  const rules = everything ? [{ clauses: [] }] : [{ clauses: [{ matches: [match] }] }]
  const value: security.Authorization = {
    name,
    namespace: 'demo',
    scope: security.Scope.NAMESPACE,
    action: action === 'allow' ? security.Action.ALLOW : security.Action.DENY,
    rules: everything || principals.length > 0 ? rules : [],
    dryRun: false,
    extensions: [],
  }
  return { [`demo/${name}`]: { bytes: security.Authorization.encode(value).finish() } }
}
