import { type CertificateState, dumpCertificates, isPath } from '#identity'
import { dumpEndpoint, dumpPolicy, dumpService, dumpWorkload } from '#mesh'
import type { Config } from '../config.ts'
import type { Pods } from '../inpod/index.ts'
import type { MeshState } from '../state/index.ts'
import type { ConnectionDump } from '../worker/index.ts'

export type DumpParts = Readonly<{
  config: Config
  state: MeshState
  pods: Pick<Pods, 'list'>
  /** Every open connection, from each data worker. */
  connections(): Promise<readonly ConnectionDump[]>
  certificates: Readonly<{ dump(): readonly CertificateState[] }>
}>

/** What istioctl ztunnel-config reads (facts: ztunnel.md §8.2). Never a key. */
export async function configDump(parts: DumpParts): Promise<unknown> {
  const { config, state, certificates } = parts
  const connections = await parts.connections()
  return {
    workloads: [...state.workloads()].map(dumpWorkload),
    services: [...state.services()].map((service) => dumpService(service, state)),
    policies: [...state.policies.byName.values()].map(dumpPolicy),
    stagedServices: staged(state),
    staticConfig: { workloads: [], policies: [], services: [] },
    version: versionOf(config),
    config: openPart(config),
    certificates: dumpCertificates(certificates.dump()),
    workloadState: Object.fromEntries(
      parts.pods.list().map(({ pod, state: podState }) => {
        const trustDomain = state.localWorkload(pod)?.trustDomain
        const { name, namespace, serviceAccount } = pod
        const info = { name, namespace, trustDomain, serviceAccount }
        return [pod.uid, { state: podState, info, connections: connectionsOf(pod.uid, connections) }]
      }),
    ),
  }
}

/** A token may stand in the environment itself, and headers may carry one. */
export const openPart = ({ token, xds, ca, ...rest }: Config) => ({
  ...rest,
  token: isPath(token) ? token : '[redacted]',
  xds: { ...xds, headers: Object.keys(xds.headers) },
  ca: { ...ca, headers: Object.keys(ca.headers) },
})

/** Keys that istioctl and bug reports expect; what Rust is to ztunnel, Node is to us. */
const versionOf = ({ version }: Config) => ({
  version,
  gitRevision: 'unknown',
  rustVersion: `node ${process.versions.node}`,
  buildProfile: 'lateen',
  buildStatus: 'unknown',
  istioVersion: version,
  cryptoProvider: `openssl ${process.versions.openssl}`,
})

/** Endpoints of services that have not been received: `namespace/hostname` → uid → endpoint. */
function staged(state: MeshState): Record<string, Record<string, unknown>> {
  const services: Record<string, Record<string, unknown>> = {}
  for (const workload of state.workloads())
    for (const key of workload.services.keys())
      if (!state.service(key)) (services[key] ??= {})[workload.uid] = dumpEndpoint(workload, key)
  return services
}

const connectionsOf = (uid: string, dumps: readonly ConnectionDump[]): ConnectionDump[string] => ({
  inbound: dumps.flatMap((dump) => dump[uid]?.inbound ?? []),
  outbound: dumps.flatMap((dump) => dump[uid]?.outbound ?? []),
})
