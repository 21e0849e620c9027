import { isDeepStrictEqual } from 'node:util'
import { type Ip, messageOf, sleep } from '#base'
import { isStatus, type KubeClient, keyOf, kinds, type Pod } from '#kube'
import type { Netns } from '#linux'
import type { Logger } from '#telemetry'
import {
  applyPodRules,
  type Backend,
  type HostRules,
  migrateRequests,
  type Phase,
  removePodRules,
  verifyPodRules,
} from '../rules/index.ts'
import { addressesOf, type Captured, openPodNetns } from './captured.ts'
import type { Config } from './config.ts'
import { names, type Wish } from './eligibility.ts'
import { drainConnections } from './in-flight.ts'
import { KeyedLock } from './keyed-lock.ts'
import type { Metrics } from './metrics.ts'
import type { NetnsRegistry } from './netns-registry.ts'
import type { Announcement, Announcer } from './zds-server.ts'

type EnrolmentOptions = Readonly<{
  config: Pick<Config, 'times' | 'hostRoot' | 'hostProc'>
  client: KubeClient
  backend: Backend
  host: HostRules
  registry: NetnsRegistry
  ztunnel: Announcer
  log: Logger
  metrics: Metrics
  /** Asks for another look at a pod, `afterMs` from now. */
  again: (key: string, afterMs: number) => void
  signal: AbortSignal
}>

/** Does a pod run already (`live`), does it wait for us to start, or did it run captured before this agent came. */
type Origin = 'starting' | 'live' | 'adopted'

/** The captured pods of the node: what makes one, what lets it go, and what is true of each. One pod, one step at a time. */
export class Enrolment implements Disposable {
  readonly #o: EnrolmentOptions
  readonly #pods = new Map<string, Captured>()
  readonly #lock = new KeyedLock()

  constructor(options: EnrolmentOptions) {
    this.#o = options
  }

  get(uid: string): Captured | undefined {
    return this.#pods.get(uid)
  }

  list(): readonly Captured[] {
    return [...this.#pods.values()]
  }

  /** Every captured pod, for a ztunnel that has just connected. */
  snapshot(): readonly Announcement[] {
    return this.list().map(announcementOf)
  }

  /** What a new ztunnel answered. */
  answered(uid: string, refusal: Error | undefined): void {
    const pod = this.#pods.get(uid)
    if (!pod) return
    pod.announced = refusal === undefined
    if (refusal) this.#o.log.error('ztunnel does not serve a pod', { pod: pod.key, error: refusal.message })
    this.#o.again(pod.key, 0)
  }

  /** Makes the pod captured, whatever is there already, and says so in its annotation. Throws what kept it from that. */
  enrol(pod: Pod, wish: Wish, origin: Origin, known: readonly Ip[] = []): Promise<void> {
    const uid = pod.metadata.uid ?? ''
    return this.#lock.run(uid, async () => {
      const addresses = known.length > 0 ? known : addressesOf(pod)
      const captured = await this.#take(pod, wish, origin, addresses)
      try {
        await this.#announce(captured)
      } catch (error) {
        // A pod that is about to start is blocked by the caller; a running one is tried again for ever. One that is
        // captured stays `enabled` while ztunnel is away, or its peers would fall back to plaintext.
        if (!isEnabled(pod, captured)) await this.#annotate(pod, 'pending', captured).catch(() => undefined)
        throw error
      }
      await this.#program(captured, wish)
      await this.#exemptProbes(captured, addresses)
      await this.#annotate(pod, 'enabled', captured)
      this.#count()
    })
  }

  /**
   * Takes over a pod that an earlier agent captured: puts its rules right at once. ztunnel hears of it in its snapshot,
   * so this can be done before the first one connects.
   */
  adopt(pod: Pod, wish: Wish): Promise<void> {
    return this.#lock.run(pod.metadata.uid ?? '', async () => {
      const addresses = addressesOf(pod)
      const captured = await this.#take(pod, wish, 'adopted', addresses)
      await this.#program(captured, wish)
      await this.#exemptProbes(captured, addresses)
    })
  }

  /**
   * Lets a running pod go. The annotation goes first, and with it, some moments later, the HBONE that peers would use;
   * then nothing new is captured; then tunnels in flight have their time; only then ztunnel and the rules go. (Istio
   * takes the rules first, which resets every connection of the pod.)
   */
  release(pod: Pod): Promise<void> {
    const uid = pod.metadata.uid ?? ''
    return this.#lock.run(uid, async () => {
      const { signal, config, host, ztunnel, backend, log, metrics } = this.#o
      const held = this.#pods.get(uid)
      await this.#annotate(pod, undefined, held)
      const captured = held ?? (await this.#openForRemoval(pod))
      if (!captured) return
      const place = { netns: captured.netns, backend, signal }
      await sleep(config.times.settleMs, signal)
      captured.phase = 'leaving'
      captured.verified = false
      await applyPodRules(place, { ...captured.wish, phase: 'leaving' })
      await host.remove(uid, signal)
      await drainConnections(captured.netns, config.times.drainMs, signal)
      captured.announced = false // whatever fails from here on: the next capture announces it anew
      await ztunnel.remove(uid)
      await removePodRules(place)
      await this.#migrateRequests(captured, false)
      this.#drop(captured)
      metrics.events.inc({ type: 'remove' })
      log.info('pod released', { pod: captured.key, uid })
    })
  }

  /** The pod, or its network, is no more: nothing to program, only to tell and to forget. */
  forget(uid: string): Promise<void> {
    return this.#lock.run(uid, async () => {
      const captured = this.#pods.get(uid)
      if (!captured) return
      captured.announced = false
      await this.#o.ztunnel.remove(uid)
      await this.#o.host.remove(uid, this.#o.signal)
      this.#drop(captured)
      this.#o.metrics.events.inc({ type: 'delete' })
      this.#o.log.info('pod gone', { pod: captured.key, uid })
    })
  }

  /** Compares the kernel with the intent and repairs; true when it had been right. */
  verify(uid: string): Promise<boolean> {
    return this.#lock.run(uid, async () => {
      const captured = this.#pods.get(uid)
      if (!captured || captured.phase === 'leaving') return true
      const place = { netns: captured.netns, backend: this.#o.backend, signal: this.#o.signal }
      const rules = { ...captured.wish, phase: captured.phase }
      const wrong = await verifyPodRules(place, rules).catch((error: unknown) => {
        captured.verified = false // what cannot be read is not known to be right
        throw error
      })
      captured.verified = wrong.length === 0
      if (captured.verified) return true
      this.#o.log.error('pod was not captured as intended; repairing', {
        pod: captured.key,
        found: wrong.slice(0, 3).join('; '),
      })
      await applyPodRules(place, rules)
      captured.verified = true
      this.#o.metrics.repairs.inc()
      return false
    })
  }

  /** Puts every pod's addresses into the node's sets, which were made anew and empty. */
  async exemptAllProbes(): Promise<void> {
    const { host, signal } = this.#o
    for (const { uid } of this.list())
      await this.#lock.run(uid, async () => {
        const { addresses = [] } = this.#pods.get(uid) ?? {}
        if (addresses.length > 0) await host.put(uid, addresses, signal)
      })
  }

  [Symbol.dispose](): void {
    for (const { netns } of this.#pods.values()) netns[Symbol.dispose]()
    this.#pods.clear()
  }

  /** The entry of the pod: that which is there, or a new one with its namespace opened. */
  async #take(pod: Pod, wish: Wish, origin: Origin, addresses: readonly Ip[]): Promise<Captured> {
    const { uid = '' } = pod.metadata
    const held = this.#pods.get(uid)
    if (held && origin !== 'starting') return held
    const netns = await this.#open(uid, addresses)
    if (held) {
      if (held.netns.inode === netns.inode) {
        netns[Symbol.dispose]()
        return held
      }
      // The runtime made the pod's sandbox anew. ztunnel replaces on the next add; the old descriptor must not close before.
      await this.#o.ztunnel.remove(uid)
      this.#drop(held)
    }
    // Connections of a pod that runs already are spared; see Phase.
    const captured = entryOf(pod, netns, wish, origin === 'live' ? 'joining' : 'capture')
    this.#pods.set(uid, captured)
    this.#o.log.info('pod is being captured', { pod: captured.key, uid, origin })
    return captured
  }

  /**
   * ztunnel first, rules second: redirected to a port where nobody listens yet, the connections of a running pod would
   * be refused. (Istio does it the other way round.)
   */
  async #announce(captured: Captured): Promise<void> {
    if (captured.announced) return
    await this.#o.ztunnel.add(announcementOf(captured))
    captured.announced = true
  }

  /** The node's set follows a pod's addresses; nothing known yet changes nothing. */
  async #exemptProbes(captured: Captured, addresses: readonly Ip[]): Promise<void> {
    if (addresses.length === 0 || isDeepStrictEqual(captured.addresses, addresses)) return
    await this.#o.host.put(captured.uid, addresses, this.#o.signal)
    captured.addresses = addresses
  }

  /** Programs what the wish and the phase call for. `joining` lasts joinMs from the moment its rules are in place. */
  async #program(captured: Captured, wish: Wish): Promise<void> {
    const { backend, signal, config, again, metrics, log } = this.#o
    const { joinMs } = config.times
    const leftMs = captured.joinedMs === undefined ? joinMs : captured.joinedMs + joinMs - performance.now()
    const phase = captured.phase === 'joining' && leftMs > 0 ? 'joining' : 'capture'
    const isNews = !captured.verified || phase !== captured.phase || !isDeepStrictEqual(captured.wish, wish)
    if (isNews) {
      captured.phase = phase
      captured.wish = wish
      // The rules of before capture too, until these are in: a change of rules does not make a captured pod uncaptured.
      await applyPodRules({ netns: captured.netns, backend, signal }, { ...wish, phase }).catch(
        (error: unknown) => {
          captured.verified = false
          throw error
        },
      )
      captured.verified = true
      await this.#migrateRequests(captured, true)
    }
    if (phase === 'joining') {
      captured.joinedMs ??= performance.now()
      again(captured.key, Math.max(leftMs, 10))
    }
    if (!isNews) return
    metrics.events.inc({ type: 'add' })
    log.info('pod captured', { pod: captured.key, uid: captured.uid, phase })
  }

  /** Only a restart of ztunnel needs it: a pod is captured without it as well. */
  async #migrateRequests({ netns, key }: Captured, on: boolean): Promise<void> {
    const { log, signal } = this.#o
    try {
      if (await migrateRequests(netns, on, signal)) return
      log.debug('the kernel cannot migrate connection requests', { pod: key })
    } catch (error) {
      signal.throwIfAborted()
      const why = 'a restart of ztunnel may reset connections that have just begun'
      log.warn('tcp_migrate_req could not be set', { pod: key, error: messageOf(error), why })
    }
  }

  /** A pod that we hold no entry of but that carries the annotation: an earlier agent's. undefined when its network is gone. */
  async #openForRemoval(pod: Pod): Promise<Captured | undefined> {
    try {
      const netns = await this.#open(pod.metadata.uid ?? '', addressesOf(pod))
      const wish = { ipv6: true, dnsCapture: false, ingressMode: false, virtualInterfaces: [] }
      return entryOf(pod, netns, wish, 'leaving')
    } catch (error) {
      this.#o.signal.throwIfAborted()
      const level = pod.metadata.deletionTimestamp === undefined ? 'warn' : 'debug'
      this.#o.log[level]('nothing to release', { pod: keyOf(pod), error: messageOf(error) })
      return undefined
    }
  }

  #open(uid: string, addresses: readonly Ip[]) {
    const { registry, config, signal } = this.#o
    return openPodNetns(uid, addresses, { registry, ...config, signal })
  }

  #drop(captured: Captured): void {
    if (this.#pods.get(captured.uid) === captured) this.#pods.delete(captured.uid)
    captured.netns[Symbol.dispose]()
    this.#count()
  }

  #count(): void {
    this.#o.metrics.captured.set(
      this.list().filter(({ announced, verified }) => announced && verified).length,
    )
  }

  /** Writes the status annotation unless the pod shows it already; a pod that is gone needs none. */
  async #annotate(pod: Pod, value: Captured['status'], captured: Captured | undefined): Promise<void> {
    const { name = '', namespace = '', uid } = pod.metadata
    const shown = captured?.status ?? pod.metadata.annotations?.[names.redirection]
    if (shown === value && pod.metadata.annotations?.[names.redirection] === value) return
    const ref = { kind: kinds.Pod, name, namespace }
    // The uid is a condition: the name may belong to another pod by now.
    const patch = { metadata: { uid, annotations: { [names.redirection]: value ?? null } } }
    try {
      await this.#o.client.mergePatch(ref, patch, { subresource: 'status', signal: this.#o.signal })
      if (captured) captured.status = value
    } catch (error) {
      if (!isStatus(error, 404) && !isStatus(error, 409)) throw error
    }
  }
}

const entryOf = (pod: Pod, netns: Netns, wish: Wish, phase: Phase): Captured => ({
  uid: pod.metadata.uid ?? '',
  key: keyOf(pod),
  name: pod.metadata.name ?? '',
  namespace: pod.metadata.namespace ?? '',
  serviceAccount: pod.spec?.serviceAccountName ?? 'default',
  netns,
  wish,
  phase,
  joinedMs: undefined,
  announced: false,
  verified: false,
  addresses: [],
  status: undefined,
})

const isEnabled = (pod: Pod, captured: Captured) =>
  (captured.status ?? pod.metadata.annotations?.[names.redirection]) === 'enabled'

const announcementOf = ({ uid, name, namespace, serviceAccount, netns }: Captured): Announcement => ({
  uid,
  name,
  namespace,
  serviceAccount,
  netnsFd: netns.fd,
})
