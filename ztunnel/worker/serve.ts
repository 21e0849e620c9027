import { MeshError } from '#base'
import { limitBuffers } from '#hbone'
import { identityMetrics } from '#identity'
import { type LogControl, Registry } from '#telemetry'
import { type DnsContext, dnsMetrics, followResolvConf, InFlight, maxInFlight } from '../dns/index.ts'
import { startPodProxy } from '../inpod/index.ts'
import { watchLoop } from '../loop-delay.ts'
import {
  Admission,
  type AskHost,
  admissionMetrics,
  Connections,
  createRouting,
  policyReport,
  type ProxyContext,
  proxyMetrics,
} from '../proxy/index.ts'
import { MeshState } from '../state/index.ts'
import { trustOf } from '../trust.ts'
import { applier } from './apply.ts'
import { CertificateCopies } from './certificates.ts'
import { Link, type Port } from './link.ts'
import type { ConnectionDump, ControlCalls, WorkerCalls, WorkerStart } from './messages.ts'
import { HeldPods } from './pods.ts'

/** A data worker under way. Disposing it ends every connection at once. */
export type DataWorker = AsyncDisposable & Readonly<{ registry: Registry }>

type Parts = Readonly<{
  logs: LogControl
  random?: (() => number) | undefined
  /** Asks for the addresses of hostnames, instead of our own resolver. */
  askHost?: AskHost | undefined
}>

/** Nothing may wait longer for a certificate: control itself gives up earlier. */
const certificateMs = 60_000

/** The data plane of one thread: the mesh as it was told, and the pods' listeners. It does what control says. */
export function serveControl(port: Port, start: WorkerStart, parts: Parts): DataWorker {
  const { config, beat, index } = start
  const registry = new Registry()
  limitBuffers(config.bufferBytes / config.workers)
  const stopWatching = watchLoop(registry, beat)
  const state = new MeshState(config.nodeName)
  const policyLog = parts.logs.root('ztunnel').child('rbac')
  const connections = new Connections(
    policyReport({ registry, log: policyLog, atInfo: config.policyInfoLogs }),
  )
  const certificates = new CertificateCopies((id) => link.ask('certificate', id, certificateMs))
  const metrics = proxyMetrics(registry)
  const admission = new Admission(start.fileLimit, metrics.shed, start.admission, index)
  admissionMetrics(registry, admission)
  const stop = new AbortController()
  const trust = trustOf({
    config,
    certificates,
    metrics: identityMetrics(registry),
    log: parts.logs.root('ztunnel').child('identity'),
    signal: stop.signal,
  })
  const { registryOnly, ipv6 } = config
  const context: ProxyContext = {
    state,
    certificates,
    trust,
    connections,
    admission,
    metrics,
    access: parts.logs.root('access'),
    network: config.network,
    mark: config.mark,
    keepSource: config.keepSource,
    random: parts.random ?? Math.random,
    limits: config.hbone,
    tuning: config.tuning,
    routing: createRouting({ registry, registryOnly, ipv6, ask: parts.askHost }),
  }
  const dns = dnsContext(context, config.dns, registry, parts.logs)
  const pods = new HeldPods((pod, netns, role) => startPodProxy({ role, ipv6, context, dns, pod, netns }))
  const link = new Link<WorkerCalls, ControlCalls>(port, {
    ready: () => undefined,
    resources: applier(state, () => connections.recheck(state)),
    'start-pod': (ask) => pods.start(ask),
    'release-pod': (ask) => pods.release(ask),
    'stop-accepting': (ask) => pods.stopAccepting(ask),
    'drain-pod': (ask) => pods.drain(ask),
    'stop-pod': (ask) => pods.stop(ask),
    renewed: (certificate) => certificates.renewed(certificate),
    forgotten: (id) => certificates.forgotten(id),
    'flush-log': () => parts.logs.flush(),
    metrics: () => registry.getMetricsAsJSON(),
    connections: () => dumpOf(pods, connections),
  })
  return {
    registry,
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await pods[Symbol.asyncDispose]()
      stopWatching[Symbol.dispose]()
      link.close(new MeshError('draining', { message: 'the worker ends' }))
    },
  }
}

const resolvConfPath = '/etc/resolv.conf'

/** What the DNS proxies of this worker's pods share; undefined where they have none. */
function dnsContext(
  { state, network, mark, admission, random }: ProxyContext,
  config: DnsContext['config'] | undefined,
  registry: Registry,
  logs: LogControl,
): DnsContext | undefined {
  if (!config) return undefined
  const resolvConf = followResolvConf(resolvConfPath)
  const inFlight = new InFlight(maxInFlight)
  const metrics = dnsMetrics(registry)
  return {
    state,
    network,
    mark,
    admission,
    random,
    config,
    resolvConf,
    inFlight,
    metrics,
    log: logs.root('dns'),
  }
}

const dumpOf = (pods: HeldPods, connections: Connections): ConnectionDump =>
  Object.fromEntries([...pods.running()].map(({ pod }) => [pod.uid, connections.dump(pod.uid)]))
