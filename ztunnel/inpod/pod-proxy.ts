import type { Server, Socket } from 'node:net'
import { MeshError } from '#base'
import { breakOff, HbonePool } from '#hbone'
import { fdOf, type Netns } from '#linux'
import { type DnsContext, type DnsProxy, startDnsProxy } from '../dns/index.ts'
import {
  Ejections,
  handleHbone,
  handleOutbound,
  handlePlaintext,
  limitedLog,
  type PodContext,
  type ProxyContext,
} from '../proxy/index.ts'
import { hbonePort, inboundPlaintextPort, outboundPort } from '../state/index.ts'
import { listenInPod } from './listeners.ts'

/**
 * Whose traffic it is: a pod's that the node agent has captured; our own pod's, which peers may scrape through the mesh
 * and which redirects nothing; or the one workload that we are a sidecar of.
 */
export type Role = 'captured' | 'own' | 'sidecar'

type PodProxyOptions = Readonly<{
  role: Role
  ipv6: boolean
  context: ProxyContext
  /** Undefined where pods have no DNS proxy. */
  dns: DnsContext | undefined
  pod: PodContext['pod']
  /** Owned by the proxy once it has started. */
  netns: Netns
}>

/** The listeners and connections of one pod. */
export type PodProxy = Readonly<{
  pod: PodContext['pod']
  netns: Netns
  /** Stops listening. What was accepted is served. */
  stopAccepting(): Promise<void>
  /** Tells tunnels to end as well; resolves when the last connection has. */
  drain(): Promise<void>
  /** Says whether the pod's rules are gone (a released pod) or in place. */
  released(released: boolean): void
  /** Ends everything at once. */
  close(): Promise<void>
}>

type Kind = Readonly<{
  reporter: 'source' | 'destination'
  /** Taken by one connection: the accepted socket, and the one that is dialled for it. Tunnels take their own. */
  descriptors: number
  proxy(socket: Socket, ctx: PodContext): Promise<void>
}>
const hbone: Kind = { reporter: 'destination', descriptors: 1, proxy: handleHbone }
const plaintext: Kind = { reporter: 'destination', descriptors: 2, proxy: handlePlaintext }
const outbound: Kind = { reporter: 'source', descriptors: 2, proxy: handleOutbound }

const kinds: readonly (readonly [port: number, kind: Kind])[] = [
  [hbonePort, hbone],
  [inboundPlaintextPort, plaintext],
  [outboundPort, outbound],
]

function refuseSocket(socket: Socket): void {
  socket.on('error', () => undefined)
  breakOff(socket)
}

/** What becomes of an accepted socket. */
function accepting({ reporter, descriptors, proxy }: Kind, ctx: PodContext, busy: Set<Promise<void>>) {
  const { admission, metrics, pod, signal } = ctx
  return (socket: Socket) => {
    const room = signal.aborted ? undefined : admission.take(descriptors, pod.uid, fdOf(socket))
    if (!room) return refuseSocket(socket)
    metrics.sockets.inc(reporter)
    const task = proxy(socket, ctx).finally(() => {
      room[Symbol.dispose]()
      metrics.sockets.dec(reporter)
      busy.delete(task)
    })
    busy.add(task)
  }
}

/** Opens a pod's listeners; all are bound when it resolves, none is left when it rejects. */
export async function startPodProxy(options: PodProxyOptions): Promise<PodProxy> {
  const { role, ipv6, context, dns, pod, netns } = options
  const gone = new AbortController()
  const draining = new AbortController()
  const pool = new HbonePool({ limits: context.limits, trust: context.trust, signal: gone.signal })
  let rules = role !== 'own'
  const showsSource = () => context.keepSource && rules
  const signals = { signal: gone.signal, draining: draining.signal }
  const access = limitedLog(context.access, context.metrics.unlogged)
  const ejections = new Ejections()
  const ctx: PodContext = { ...context, ...signals, access, pod, netns, pool, ejections, showsSource }
  const busy = new Set<Promise<void>>()
  const servers: Server[] = []
  let names: DnsProxy | undefined
  const accept = (kind: Kind) => accepting(kind, ctx, busy)
  const stop = () => {
    for (const server of servers.splice(0)) server.close()
  }
  const endAll = async () => {
    draining.abort()
    gone.abort(new MeshError('draining', { message: 'the pod is gone' }))
    stop()
    await pool[Symbol.asyncDispose]()
    await Promise.all([names?.[Symbol.asyncDispose](), ...busy])
  }
  try {
    const options = {
      netns,
      mark: context.mark,
      ipv6,
      transparent: showsSource(),
      keepAlive: context.tuning.keepAlive,
    }
    for (const [port, kind] of role === 'own' ? kinds.slice(0, 1) : kinds)
      servers.push(await listenInPod(port, options, accept(kind)))
    if (dns && role !== 'own') names = await startDnsProxy({ context: dns, pod, netns })
  } catch (error) {
    await endAll()
    throw error
  }
  return {
    pod,
    netns,
    released: (released) => {
      rules = !released
    },
    close: async () => {
      await endAll()
      netns[Symbol.dispose]()
    },
    stopAccepting: async () => stop(),
    drain: async () => {
      stop()
      draining.abort()
      pool.drain()
      await Promise.all([names?.drain(), ...busy])
    },
  }
}
