import type { KubeClient } from '#kube'
import type { Logger, Registry } from '#telemetry'
import {
  type CaMetrics,
  caMetrics,
  followAuthority,
  type LiveAuthority,
  openAuthority,
  showExpiry,
} from './ca/index.ts'
import type { Settings } from './collections/index.ts'
import type { Config } from './config.ts'
import { untilReachable } from './until-reachable.ts'

type Options = Readonly<{
  client: KubeClient
  config: Config
  settings: Settings
  registry: Registry
  signal: AbortSignal
  log: Logger
}>

/** The CA as its Secrets say, now and whenever they change. */
export async function startAuthority(
  o: Options,
): Promise<Readonly<{ authority: LiveAuthority; caMetrics: CaMetrics }>> {
  const { client, config, registry, signal } = o
  const { trustDomain } = o.settings
  const log = o.log.child('ca')
  const options = { namespace: config.namespace, trustDomain, root: config.ca.root, signal, log }
  for (const sentence of config.ca.unheeded) log.warn('a setting is not heeded', { setting: sentence })
  const first = await untilReachable('ca', o.log, signal, () => openAuthority(client, options))
  const metrics = caMetrics(registry)
  const authority = followAuthority(client, first, {
    ...options,
    counted: (outcome) => metrics.reloads.inc({ outcome }),
  })
  showExpiry(registry, authority.current)
  return { authority, caMetrics: metrics }
}
