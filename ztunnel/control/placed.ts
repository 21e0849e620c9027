import { MeshError, messageOf, sleep } from '#base'
import { migrateRequests, type Netns } from '#linux'
import type { Logger } from '#telemetry'
import type { PodProxy, Role } from '../inpod/index.ts'
import type { PodContext } from '../proxy/index.ts'
import type { PodHandle } from '../worker/index.ts'
import type { Attached } from './attached.ts'

/** To bind a pod's listeners; less than the 5 s after which the node agent gives us up. */
const startMs = 4_000
/** Between two tries of one worker that could not listen where the others do. */
const againMs = 1_000

/** A pod that the workers serve. */
type Placed = Readonly<{ handle: PodHandle; role: Role; pod: PodContext['pod']; netns: Netns }> & {
  released: boolean
  leaving: boolean
}

/** The pods that are served by all workers, those included that are yet to come. */
export class PlacedPods {
  readonly #living: () => readonly Attached[]
  readonly #log: Logger
  readonly #placed = new Map<PodHandle, Placed>()
  #last: PodHandle = 0

  constructor(living: () => readonly Attached[], log: Logger) {
    this.#living = living
    this.#log = log
  }

  /** Resolves when all workers that live listen in the pod. */
  async start(pod: PodContext['pod'], netns: Netns, role: Role): Promise<PodProxy> {
    const placed: Placed = { handle: ++this.#last, role, pod, netns, released: false, leaving: false }
    this.#placed.set(placed.handle, placed)
    const asked = this.#living().filter(({ ready }) => ready)
    const answers = await Promise.allSettled(asked.map((one) => startOn(one, placed)))
    const failure = answers.find((answer, i) => answer.status === 'rejected' && asked[i]?.gone === false) as
      | PromiseRejectedResult
      | undefined
    if (failure === undefined && answers.some(({ status }) => status === 'fulfilled')) {
      if (role === 'captured') this.#keepRequests(placed)
      return this.#proxyOf(placed)
    }
    await this.#stop(placed)
    throw failure?.reason ?? new MeshError('unavailable', { message: 'no data worker is up' })
  }

  /** Our own node agent has seen to it already; another one does not know of it. */
  #keepRequests({ pod, netns }: Placed): void {
    try {
      migrateRequests(netns)
    } catch (error) {
      this.#log.debug('tcp_migrate_req could not be set', { uid: pod.uid, error: messageOf(error) })
    }
  }

  /** Has a worker that is new serve what the others serve. Resolves when it does, or is gone. */
  async catchUp(one: Attached, signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#placed.values()].map((placed) => this.#follow(one, placed, signal)))
  }

  async #follow(one: Attached, placed: Placed, signal: AbortSignal): Promise<void> {
    while (!one.gone && !placed.leaving && !signal.aborted) {
      try {
        await startOn(one, placed)
        if (placed.released) await one.link.ask('release-pod', { handle: placed.handle, released: true })
        return
      } catch (error) {
        if (one.gone || placed.leaving) return
        const { uid, name } = placed.pod
        this.#log.warn('a data worker could not start a pod', { uid, name, error: messageOf(error) })
        await one.link.ask('stop-pod', { handle: placed.handle }).catch(() => undefined)
        await sleep(againMs, signal).catch(() => undefined)
      }
    }
  }

  #proxyOf(placed: Placed): PodProxy {
    const { handle, pod, netns } = placed
    const all = (ask: (one: Attached) => Promise<unknown>) => Promise.allSettled(this.#living().map(ask))
    const stopAccepting = async () => void (await all((one) => one.link.ask('stop-accepting', { handle })))
    return {
      pod,
      netns,
      released: (released) => {
        placed.released = released
        void all((one) => one.link.ask('release-pod', { handle, released }))
      },
      stopAccepting,
      drain: async () => {
        // First everywhere: a peer that is told to go comes back at once, and must not meet a worker that is next.
        await stopAccepting()
        await all((one) => one.link.ask('drain-pod', { handle }))
      },
      close: async () => {
        await this.#stop(placed)
        netns[Symbol.dispose]()
      },
    }
  }

  /**
   * Resolves when no worker has anything of the pod: each has said so, or is gone. There is no deadline, for as long
   * as a worker may still use the descriptor its number must not become somebody else's; one that hangs is ended.
   */
  async #stop(placed: Placed): Promise<void> {
    placed.leaving = true
    this.#placed.delete(placed.handle)
    await Promise.allSettled(this.#living().map((one) => one.link.ask('stop-pod', { handle: placed.handle })))
  }
}

async function startOn({ link, feed }: Attached, placed: Placed): Promise<void> {
  await feed.sent()
  if (placed.leaving) throw new MeshError('unavailable', { message: 'the pod is leaving' })
  const { handle, role, pod, netns } = placed
  await link.ask('start-pod', { handle, role, pod, netnsFd: netns.fd, inode: netns.inode }, startMs)
}
