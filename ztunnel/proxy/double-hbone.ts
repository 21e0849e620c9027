import { connectThrough, type OutboundTunnel } from '#hbone'
import type { Workload } from '../state/index.ts'

/** Says to the far end that the connection comes from another network, and from which. */
export const networkHeader = 'x-forwarded-network'

type Through = Omit<Parameters<typeof connectThrough>[1], 'headers'> &
  Readonly<{ headers: Readonly<Record<string, string>>; network: string }>

/** The tunnel in the tunnel to a gateway, which passes its bytes on unread (ztunnel: outbound.rs send_double_hbone_request). */
export const openInner = (
  outer: OutboundTunnel,
  { network, ...o }: Through,
): ReturnType<typeof connectThrough> =>
  connectThrough(outer, { ...o, headers: { ...o.headers, [networkHeader]: network } })

const types = ['deployment', 'cronjob', 'pod', 'job'] as const

/**
 * The endpoint as it describes itself in the answer: what we know of it is only that its network has it. For telemetry;
 * a peer's words decide nothing.
 */
export function describedBy(endpoint: Workload, baggage: string | undefined): Workload {
  if (baggage === undefined || baggage === '') return endpoint
  const said = new Map<string, string>()
  for (const member of baggage.slice(0, maxBaggage).split(',')) {
    const at = member.indexOf('=')
    const value = member.slice(at + 1).trim()
    if (at > 0 && value !== '') said.set(member.slice(0, at).trim(), value.slice(0, maxValue))
  }
  const workloadType = types.find((type) => said.has(`k8s.${type}.name`)) ?? endpoint.workloadType
  const name = said.get(`k8s.${workloadType}.name`) ?? endpoint.workloadName
  const { locality } = endpoint
  return {
    ...endpoint,
    name,
    workloadName: name,
    workloadType,
    namespace: said.get('k8s.namespace.name') ?? endpoint.namespace,
    canonicalName: said.get('service.name') ?? endpoint.canonicalName,
    canonicalRevision: said.get('service.version') ?? endpoint.canonicalRevision,
    clusterId: said.get('k8s.cluster.name') ?? endpoint.clusterId,
    locality: {
      ...locality,
      region: said.get('cloud.region') ?? locality.region,
      zone: said.get('cloud.availability_zone') ?? locality.zone,
    },
  }
}

/** Seven names of Kubernetes' 253 characters at most, with their keys. */
const maxBaggage = 4_096
const maxValue = 253
