import { MeshError } from '#base'
import type { Netns } from '#linux'
import type { PodProxy, Role } from '../inpod/index.ts'
import type { PodContext } from '../proxy/index.ts'
import type { PodHandle, WorkerCalls } from './messages.ts'

type Start = (pod: PodContext['pod'], netns: Netns, role: Role) => Promise<PodProxy>
/** Undefined once it is clear that it could not be started. */
type Held = Promise<PodProxy | undefined>

/** The pods' proxies of one worker, by the numbers that control gave them. */
export class HeldPods {
  readonly #start: Start
  readonly #held = new Map<PodHandle, Held>()
  readonly #up = new Map<PodHandle, PodProxy>()

  constructor(start: Start) {
    this.#start = start
  }

  async start({ handle, role, pod, netnsFd, inode }: WorkerCalls['start-pod']['ask']): Promise<undefined> {
    if (this.#held.has(handle)) throw new MeshError('protocol', { message: `pod ${handle} is there already` })
    const starting = this.#start(pod, borrowedNetns(netnsFd, inode), role)
    this.#held.set(
      handle,
      starting.catch(() => undefined),
    )
    try {
      this.#up.set(handle, await starting)
    } catch (error) {
      this.#held.delete(handle)
      throw error
    }
    return undefined
  }

  release({ handle, released }: WorkerCalls['release-pod']['ask']): undefined {
    this.#up.get(handle)?.released(released)
  }

  async stopAccepting({ handle }: WorkerCalls['stop-accepting']['ask']): Promise<undefined> {
    await (await this.#held.get(handle))?.stopAccepting()
    return undefined
  }

  async drain({ handle }: WorkerCalls['drain-pod']['ask']): Promise<undefined> {
    await (await this.#held.get(handle))?.drain()
    return undefined
  }

  /** Also one that is just starting: control has changed its mind. */
  async stop({ handle }: WorkerCalls['stop-pod']['ask']): Promise<undefined> {
    const proxy = await this.#held.get(handle)
    this.#held.delete(handle)
    this.#up.delete(handle)
    await proxy?.close()
    return undefined
  }

  *running(): Iterable<PodProxy> {
    yield* this.#up.values()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#held.keys()].map((handle) => this.stop({ handle })))
  }
}

/** The descriptor is control's, who keeps it open until we have said that we are done with it. */
function borrowedNetns(fd: number, inode: bigint): Netns {
  let open = true
  return {
    get fd() {
      if (open) return fd
      throw new MeshError('syscall-failed', { errno: 9, message: 'the network namespace is closed' })
    },
    inode,
    [Symbol.dispose]: () => {
      open = false
    },
  }
}
