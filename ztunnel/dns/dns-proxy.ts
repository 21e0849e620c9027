import { ip, MeshError, messageOf, type SocketAddress } from '#base'
import { type Conntrack, type Netns, openConntrack, tcpSocket, udpSocket } from '#linux'
import type { Logger } from '#telemetry'
import type { MeshState, PodName } from '../state/index.ts'
import type { Bind, DnsServer } from './bind.ts'
import { InFlight, maxInFlightPerPod, Rate, standardRate } from './budget.ts'
import { maxAttempts } from './forward.ts'
import type { Resolver } from './handle-message.ts'
import type { DnsMetrics } from './metrics.ts'
import type { ResolvConf } from './resolv-conf.ts'
import { serveTcp } from './tcp-server.ts'
import { standardTimes, type Times } from './times.ts'
import { serveUdp } from './udp-server.ts'

/** What the DNS proxies of all pods of a worker share. */
export type DnsContext = Readonly<{
  state: MeshState
  /** Our network, '' where there is only one. */
  network: string
  /** SO_MARK of every socket, by which the redirection rules know ours. */
  mark: number
  config: DnsConfig
  /** Whom to ask when it is not known whom the app asked. */
  resolvConf: () => ResolvConf
  /** Of all pods together. */
  inFlight: InFlight
  /** Room for file descriptors of a pod, as for connections. */
  admission: Readonly<{ take(descriptors: number, podUid: string, fd?: number): Disposable | undefined }>
  metrics: DnsMetrics
  log: Logger
  random: () => number
  times?: Times
  /** Questions that each pod may ask; tests replace it. */
  rate?: typeof standardRate
}>

export type DnsConfig = Readonly<{
  /** CLUSTER_DOMAIN */
  domain: string
  /** PREFERED_SERVICE_NAMESPACE (as Istio spells it) */
  preferredNamespace: string | undefined
  /** IPV6_ENABLED */
  ipv6: boolean
  /** DNS_PROXY_ADDR; undefined: port 15053 of both loopback addresses. */
  address: SocketAddress | undefined
  /** The app has our resolv.conf, so its search list is known (dedicated mode); else it is what the kubelet writes. */
  ownSearch?: boolean
}>

export type DnsProxyOptions = Readonly<{
  context: DnsContext
  pod: PodName & Readonly<{ uid: string }>
  /** The pod's; stays the caller's. The own when left out (dedicated mode). */
  netns?: Netns
}>

/** The DNS servers of one pod. */
export type DnsProxy = DnsServer

const proxyPort = 15053

/** Answers the pod's questions on 15053, over UDP and TCP. All sockets are bound when it resolves, none is left when it rejects. */
export async function startDnsProxy(options: DnsProxyOptions): Promise<DnsProxy> {
  const { context, pod, netns } = options
  const { mark, config } = context
  await using stack = new AsyncDisposableStack()
  const gone = new AbortController()
  const resolver = resolverOf(options, gone.signal)
  const connections = stack.use(lookThrough(options))
  const servers: DnsServer[] = []
  const admit = (fd: number | undefined) => context.admission.take(1, pod.uid, fd)
  for (const { address, optional } of addressesOf(config)) {
    const family = address.address.includes(':') ? 'ipv6' : 'ipv4'
    const bind: Bind = { netns, mark, family, address }
    try {
      servers.push(
        stack.use(serveUdp({ ...bind, resolver, askedBy: (peer) => connections.originalDst(address, peer) })),
      )
      servers.push(stack.use(await serveTcp({ ...bind, resolver, admit })))
    } catch (error) {
      if (!optional || !isWithoutFamily(error)) throw error
    }
  }
  // Disposed first: what waits for an upstream is given up, and is not answered any more.
  stack.defer(() => gone.abort(new MeshError('draining', { message: 'the pod is gone' })))
  const owned = stack.move()
  return {
    drain: async () => {
      await Promise.all(servers.map((server) => server.drain()))
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Whom a redirected datagram was for, by the pod's table of connections; opened when first needed: a descriptor per pod. */
function lookThrough({ context, netns }: DnsProxyOptions): Conntrack {
  let table: Conntrack | 'none' | undefined
  const open = (): Conntrack | 'none' => {
    try {
      return openConntrack(netns)
    } catch (error) {
      context.log.debug('the servers that apps ask are not known', { error: messageOf(error) })
      return 'none'
    }
  }
  return {
    originalDst: (local, peer) => {
      table ??= open()
      return table === 'none' ? undefined : table.originalDst(local, peer)
    },
    [Symbol.dispose]: () => {
      if (table !== 'none') table?.[Symbol.dispose]()
      table = 'none'
    },
  }
}

function resolverOf({ context, pod, netns }: DnsProxyOptions, signal: AbortSignal): Resolver {
  const { state, network, mark, config, resolvConf, metrics, log, random } = context
  const { times = standardTimes, rate = standardRate } = context
  const { domain, ipv6, preferredNamespace } = config
  const { namespace } = pod
  const search = config.ownSearch ? resolvConf().search : undefined
  return {
    state,
    pod,
    client: { namespace, domain, network, ipv6, preferredNamespace, random, search },
    // A resolv.conf that names us would have us ask ourselves for ever.
    nameservers: () => resolvConf().nameservers.filter((server) => !isSame(server, config.address)),
    open: (kind, family) => (kind === 'udp' ? udpSocket : tcpSocket)({ netns, family, mark, v6only: true }),
    rate: new Rate(performance.now(), rate),
    inFlight: new InFlight(maxInFlightPerPod, context.inFlight),
    admit: () => context.admission.take(maxAttempts, pod.uid),
    metrics,
    log,
    times,
    signal,
  }
}

/** IPv6 only where the pod's loopback has it. */
function addressesOf({ address, ipv6 }: DnsConfig): readonly { address: SocketAddress; optional: boolean }[] {
  if (address) return [{ address, optional: false }]
  const v4 = { address: { address: ip('127.0.0.1'), port: proxyPort }, optional: false }
  const v6 = { address: { address: ip('::1'), port: proxyPort }, optional: true }
  return ipv6 ? [v4, v6] : [v4]
}

/** EAFNOSUPPORT, EADDRNOTAVAIL: what a kernel or namespace without IPv6 answers. */
const isWithoutFamily = (error: unknown): boolean =>
  error instanceof MeshError && (error.errno === 97 || error.errno === 99)

const isSame = (a: SocketAddress, b: SocketAddress | undefined): boolean =>
  a.address === b?.address && a.port === b.port
