import { type KubeClient, kinds } from '#kube'
import type { Logger } from '#telemetry'
import type { Settings } from './collections/index.ts'
import type { Config } from './config.ts'
import { meshConfigFrom, meshConfigMap } from './mesh-config.ts'
import { untilReachable } from './until-reachable.ts'

/** What our environment and the ConfigMap `istio` say that holds from start to end. */
export async function settingsOf(
  config: Config,
  client: KubeClient,
  signal: AbortSignal,
  log: Logger,
): Promise<Settings> {
  const { namespace, clusterId, domain, dryRunPolicies, allowWaypoints, revision } = config
  const map = await untilReachable('mesh config', log, signal, () =>
    client.find({ kind: kinds.ConfigMap, namespace, name: meshConfigMap(revision) }, signal),
  )
  const mesh = meshConfigFrom(map, namespace, log)
  const trustDomain = config.trustDomain ?? mesh.trustDomain
  const fixed = { clusterId, domain, dryRunPolicies, allowWaypoints, revision }
  const { trustDomainAliases, rootNamespace } = mesh
  return { ...fixed, trustDomain, trustDomainAliases, rootNamespace }
}
