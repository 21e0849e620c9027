import { type Ip, parseIp } from '#base'
import { type Collection, deriveMany, type Fetch, type Index } from '#kube'
import { workload } from '#wire'
import { readGateway } from './gateway.ts'
import { bytesOfIp, type Inputs } from './inputs.ts'
import { networkOf } from './services.ts'
import { labels, type Settings } from './settings.ts'
import { blank, wireTrustDomain } from './workloads.ts'

/** One address by which another network can be entered; whoever answers there has the account's identity. */
type NetworkGateway = Readonly<{
  /** The Gateway that says so. */
  from: string
  uid: string
  network: string
  address: string
  /** Undefined: a host name. */
  ip: Ip | undefined
  port: number
  namespace: string
  account: string
}>
export type NetworkGateways = Readonly<{
  rows: Collection<NetworkGateway>
  byNetwork: Index<NetworkGateway>
  byUid: Index<NetworkGateway>
}>

const remoteClass = 'istio-remote'
const accountOf = 'gateway.istio.io/service-account'

/** Gateways of class `istio-remote` that are labelled with a network and listen for HBONE (Istio: NetworkGateways). */
export function networkGateways({ gateways }: Pick<Inputs, 'gateways'>): NetworkGateways {
  const rows = deriveMany(
    'NetworkGateways',
    gateways,
    (object) => {
      const gateway = readGateway(object)
      const network = gateway?.labels[labels.network]
      const port = gateway?.listeners.find(({ protocol }) => protocol === 'HBONE')?.port
      if (gateway?.className !== remoteClass || !network || port === undefined) return []
      const { key: from, name, namespace, annotations, published } = gateway
      const account = annotations[accountOf] || `${name}-${remoteClass}`
      const addresses = [...new Set(published.map(({ value }) => parseIp(value) ?? value.toLowerCase()))]
      return addresses.map((address) => ({
        from,
        uid: `NetworkGateway/${network}/${address}/${port}`,
        network,
        address,
        ip: parseIp(address),
        port,
        namespace,
        account,
      }))
    },
    { keyOf: ({ from, uid }) => `${from} ${uid}` },
  )
  return {
    rows,
    byNetwork: rows.indexBy(({ network }) => [network]),
    byUid: rows.indexBy(({ uid }) => [uid]),
  }
}

const { NetworkMode, TunnelProtocol, WorkloadStatus, WorkloadType } = workload

/** The workload behind a gateway's address, which tells ztunnel who may answer there; of equal ones the first counts. */
export const gatewayWorkloads = (
  { rows, byUid }: NetworkGateways,
  settings: Settings,
): Collection<workload.Workload> =>
  deriveMany(
    'NetworkGatewayWorkloads',
    rows,
    (row, fetch) => (fetch.by(byUid, row.uid)[0] === row ? [workloadFor(row, settings)] : []),
    { keyOf: ({ uid }) => uid },
  )

const workloadFor = (
  { uid, network, address, ip, namespace, account }: NetworkGateway,
  settings: Settings,
): workload.Workload => ({
  ...blank,
  uid,
  name: account,
  namespace,
  addresses: ip === undefined ? [] : [bytesOfIp(ip)],
  hostname: ip === undefined ? address : '',
  network,
  tunnelProtocol: TunnelProtocol.HBONE,
  nativeTunnel: true,
  trustDomain: wireTrustDomain(settings),
  serviceAccount: account,
  node: '',
  canonicalName: account,
  canonicalRevision: 'latest',
  workloadType: WorkloadType.POD,
  workloadName: account,
  authorizationPolicies: [],
  status: WorkloadStatus.HEALTHY,
  clusterId: '',
  services: {},
  locality: undefined,
  networkMode: NetworkMode.STANDARD,
})

/** A workload on another network with the way into it; the wire has room for one gateway, and wants its address. */
export function throughGateway(
  row: workload.Workload,
  fetch: Fetch,
  { inputs, settings, gateways }: Readonly<{ inputs: Inputs; settings: Settings; gateways: NetworkGateways }>,
): workload.Workload {
  if (row.network === networkOf(fetch, inputs, settings)) return row
  const way = fetch.by(gateways.byNetwork, row.network).find(({ ip }) => ip !== undefined)
  if (way?.ip === undefined) return row
  const value = { network: way.network, address: bytesOfIp(way.ip) }
  const networkGateway = { destination: { $case: 'address' as const, value }, hboneMtlsPort: way.port }
  return { ...row, networkGateway }
}
