import type { CertificateState } from '#identity'
import type { LogControl } from '#telemetry'
import type { Config } from '../config.ts'
import type { Pods } from '../inpod/index.ts'
import type { MeshState } from '../state/index.ts'
import type { ConnectionDump } from '../worker/index.ts'
import { dumpCertificates } from './certificates.ts'
import { dumpPolicy, dumpService, dumpWorkload } from './dump.ts'
import type { AdminRoutes, Answer } from './server.ts'

export type AdminParts = Readonly<{
  config: Config
  state: MeshState
  pods: Pods
  /** Every open connection, from each data worker. */
  connections(): Promise<readonly ConnectionDump[]>
  certificates: Readonly<{ dump(): readonly CertificateState[] }>
  logs: LogControl
  /** Starts the graceful end; resolves when it is over. */
  quit(): Promise<void>
}>

/** ztunnel's admin paths. */
export const adminRoutes = (parts: AdminParts): AdminRoutes => ({
  '/': () => ({ status: 200, type: 'text/html; charset=utf-8', body: index }),
  '/config_dump': async () => json(configDump(parts, await parts.connections())),
  '/logging': (url, method) => (method === 'POST' ? setLogging(url, parts.logs) : postOnly),
  '/quitquitquit': async (_, method) => {
    if (method !== 'POST') return postOnly
    await parts.quit()
    return { status: 200, body: 'shutdown now\n' }
  },
})

const index =
  '<h1>ztunnel admin</h1><a href="config_dump">config_dump</a>, POST <code>logging</code>, POST <code>quitquitquit</code>\n'
const postOnly: Answer = { status: 405, body: 'Invalid HTTP method: only POST is allowed\n' }
const json = (value: unknown): Answer => ({
  status: 200,
  type: 'application/json',
  body: `${JSON.stringify(value, null, 2)}\n`,
})

/** What istioctl ztunnel-config reads. Never a key. */
function configDump(
  { config, state, pods, certificates }: AdminParts,
  connections: readonly ConnectionDump[],
): unknown {
  return {
    workloads: [...state.workloads()].map(dumpWorkload),
    services: [...state.services()].map((service) => dumpService(service, state)),
    policies: [...state.policies.byName.values()].map(dumpPolicy),
    stagedServices: {},
    staticConfig: { workloads: [], policies: [], services: [] },
    version: { version: config.version, buildProfile: 'lateen', istioVersion: config.version },
    config,
    certificates: dumpCertificates(certificates.dump()),
    workloadState: Object.fromEntries(
      pods.list().map(({ pod, state: podState }) => [
        pod.uid,
        {
          state: podState,
          info: { name: pod.name, namespace: pod.namespace, serviceAccount: pod.serviceAccount },
          connections: connectionsOf(pod.uid, connections),
        },
      ]),
    ),
  }
}

const connectionsOf = (uid: string, dumps: readonly ConnectionDump[]): ConnectionDump[string] => ({
  inbound: dumps.flatMap((dump) => dump[uid]?.inbound ?? []),
  outbound: dumps.flatMap((dump) => dump[uid]?.outbound ?? []),
})

/** `?level=debug`, `?level=access=debug` adds to the filter; `&reset` starts from the default first. */
function setLogging(url: URL, logs: LogControl): Answer {
  const level = url.searchParams.get('level')
  const reset = url.searchParams.has('reset')
  if (level === null && !reset) return { status: 200, body: `current log level is ${logs.filter()}\n` }
  const kept = reset || (level !== null && !level.includes('=')) ? 'info' : logs.filter()
  try {
    logs.setFilter(merge(kept, level ?? ''))
    return { status: 200, body: `New log level is ${logs.filter()}\n` }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return { status: 400, body: `${error.message}\n` }
  }
}

/** Rules of `added` replace those of `filter` for the same scope. */
function merge(filter: string, added: string): string {
  const rules = new Map<string, string>()
  for (const rule of `${filter},${added}`.split(',').filter((part) => part !== '')) {
    const scope = rule.includes('=') ? (rule.split('=')[0] ?? '') : ''
    rules.set(scope, rule)
  }
  return [...rules.values()].join(',')
}
