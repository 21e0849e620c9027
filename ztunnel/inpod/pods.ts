import { MeshError, messageOf, sleep } from '#base'
import type { Netns } from '#linux'
import type { Logger, Readiness } from '#telemetry'
import type { PodContext } from '../proxy/index.ts'
import type { PodMetrics } from './pod-metrics.ts'
import type { PodProxy } from './pod-proxy.ts'

type PodsOptions = Readonly<{
  start(pod: PodContext['pod'], netns: Netns): Promise<PodProxy>
  log: Logger
  readiness: Readiness
  metrics: PodMetrics
  signal: AbortSignal
  /** Between two tries to start a pod's proxy. */
  retryMs?: number | undefined
  /**
   * How long a released pod is still served. Its rules are gone before we hear of it, so nothing new is redirected;
   * but outbound connections may end, and peers that have not yet heard still dial 15008.
   */
  releaseMs: number
}>

/** Name of the start-up task (ztunnel's word for it). */
const podsTask = 'workload proxy manager'
const defaultRetryMs = 5_000
const leavingError = () => new MeshError('draining', { message: 'ztunnel is shutting down' })

type Pod = PodContext['pod']
type Pending = Readonly<{ pod: Pod; netns: Netns; abort: AbortController }> & {
  /** Being tried: the namespace is in use. */
  starting: boolean
}

/** The pods of this node that are ours, as the node agent says. Calls must not overlap; ZDS has one message at a time. */
export class Pods {
  readonly #options: PodsOptions
  readonly #up = new Map<string, PodProxy>()
  readonly #pending = new Map<string, Pending>()
  /** Released and still served. By proxy: a sandbox that is made anew has the uid of the one that leaves. */
  readonly #leaving = new Map<PodProxy, AbortController>()
  /** Named by the snapshot that is being received; undefined once it is complete. */
  #snapshot: Set<string> | undefined = new Set()
  #draining = false

  constructor(options: PodsOptions) {
    this.#options = options
    options.readiness.pending(podsTask)
  }

  /** A new connection to the agent begins with its snapshot. Running pods go on meanwhile. */
  beginSnapshot(): void {
    this.#snapshot = new Set()
    this.#options.readiness.pending(podsTask)
  }

  /** Takes over the namespace. Throws when the listeners could not be opened; it is then tried again until `remove`. */
  async add(pod: Pod, netns: Netns): Promise<void> {
    this.#snapshot?.add(pod.uid)
    const running = this.#up.get(pod.uid) ?? this.#comeBack(pod.uid, netns)
    if (running && running.netns.inode === netns.inode) return netns[Symbol.dispose]()
    if (this.#draining) {
      netns[Symbol.dispose]()
      throw leavingError()
    }
    if (running) {
      this.#up.delete(pod.uid)
      await this.#stop(running)
    }
    this.#forget(pod.uid)
    await this.#start(pod, netns, true)
  }

  /** The agent has no namespace for a pod of its snapshot: what runs for it stays. */
  keep(uid: string): void {
    if (!this.#snapshot) throw new MeshError('protocol', { message: 'keep after the snapshot' })
    this.#snapshot.add(uid)
  }

  async remove(uid: string): Promise<void> {
    this.#snapshot?.delete(uid)
    this.#forget(uid)
    const running = this.#up.get(uid)
    this.#up.delete(uid)
    if (running && this.#options.releaseMs > 0) void this.#release(running)
    else if (running) await this.#stop(running)
    this.#report()
  }

  /** The snapshot is complete: what it did not name is gone. */
  async endSnapshot(): Promise<void> {
    const named = this.#snapshot
    if (!named) throw new MeshError('protocol', { message: 'a second snapshot' })
    this.#snapshot = undefined
    for (const uid of [...this.#up.keys(), ...this.#pending.keys()])
      if (!named.has(uid)) await this.remove(uid)
    this.#report()
  }

  /** Stops accepting everywhere; resolves when the last connection has ended. A pod that is not up by now never will be. */
  async drain(): Promise<void> {
    this.#draining = true
    for (const uid of this.#pending.keys()) this.#forget(uid)
    this.#report()
    await Promise.all([...this.#up.values()].map((proxy) => proxy.drain()))
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const uid of this.#pending.keys()) this.#forget(uid)
    const leaving = [...this.#leaving]
    this.#leaving.clear()
    for (const [, abort] of leaving) abort.abort()
    const all = [...this.#up.values(), ...leaving.map(([proxy]) => proxy)]
    this.#up.clear()
    await Promise.all(all.map((proxy) => this.#stop(proxy)))
  }

  /** Every pod with its state, as `/config_dump` shows it. */
  list(): readonly Readonly<{ pod: Pod; state: 'Up' | 'Pending' }>[] {
    return [
      ...[...this.#up.values()].map(({ pod }) => ({ pod, state: 'Up' as const })),
      ...[...this.#pending.values()].map(({ pod }) => ({ pod, state: 'Pending' as const })),
    ]
  }

  async #start(pod: Pod, netns: Netns, first: boolean): Promise<void> {
    const { log, metrics, start } = this.#options
    try {
      const proxy = await start(pod, netns)
      const gone = this.#options.signal.aborted || (!first && this.#pending.get(pod.uid)?.netns !== netns)
      if (gone || this.#draining) await proxy.close()
      if (gone) return
      if (this.#draining) throw leavingError()
      this.#up.set(pod.uid, proxy)
      this.#pending.delete(pod.uid)
      metrics.started()
      log.info('pod received, starting proxy', { uid: pod.uid, name: pod.name, namespace: pod.namespace })
    } catch (error) {
      log.warn('failed to start proxy', { uid: pod.uid, name: pod.name, error: messageOf(error) })
      if (first && this.#draining) netns[Symbol.dispose]()
      else if (first) void this.#retry({ pod, netns, abort: new AbortController(), starting: false })
      throw error
    } finally {
      this.#report()
    }
  }

  async #retry(pending: Pending): Promise<void> {
    const { pod, netns, abort } = pending
    this.#pending.set(pod.uid, pending)
    const signal = AbortSignal.any([abort.signal, this.#options.signal])
    while (!signal.aborted) {
      try {
        await sleep(this.#options.retryMs ?? defaultRetryMs, signal)
        pending.starting = true
        return await this.#start(pod, netns, false)
      } catch {
        // logged by #start; or removed meanwhile
        if (abort.signal.aborted) netns[Symbol.dispose]()
      } finally {
        pending.starting = false
      }
    }
  }

  async #release(proxy: PodProxy): Promise<void> {
    proxy.released(true)
    const abort = new AbortController()
    this.#leaving.set(proxy, abort)
    await sleep(this.#options.releaseMs, abort.signal).catch(() => undefined)
    if (this.#leaving.delete(proxy)) await this.#stop(proxy)
  }

  /** A pod that is enrolled again while we still serve it. */
  #comeBack(uid: string, { inode }: Netns): PodProxy | undefined {
    for (const [proxy, abort] of this.#leaving) {
      if (proxy.pod.uid !== uid || proxy.netns.inode !== inode) continue
      this.#leaving.delete(proxy)
      abort.abort()
      proxy.released(false)
      this.#up.set(uid, proxy)
      this.#report()
      return proxy
    }
    return undefined
  }

  #forget(uid: string): void {
    const pending = this.#pending.get(uid)
    this.#pending.delete(uid)
    pending?.abort.abort()
    if (pending?.starting === false) pending.netns[Symbol.dispose]()
  }

  async #stop(proxy: PodProxy): Promise<void> {
    await proxy.close()
    this.#options.metrics.stopped()
    this.#options.log.info('pod deleted, proxy stopped', { uid: proxy.pod.uid, name: proxy.pod.name })
  }

  #report(): void {
    const { readiness, metrics } = this.#options
    metrics.counts(this.#up.size, this.#pending.size)
    if (this.#snapshot === undefined && this.#pending.size === 0) readiness.done(podsTask)
    else readiness.pending(podsTask)
  }
}
