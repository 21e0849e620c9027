import { messageOf, sleep } from '#base'
import type { Logger, Readiness } from '#telemetry'
import type { Workers } from './control/index.ts'
import { ownNetns, type PodProxy } from './inpod/index.ts'
import type { PodName } from './state/index.ts'

/** Name of the start-up task. */
const ownPodTask = 'own pod'
/** Between two tries. */
const retryMs = 5_000

type Parts = Readonly<{
  /** Undefined where nobody has told us which pod it is. */
  pod: PodName | undefined
  workers: Pick<Workers, 'startPod'>
  readiness: Readiness
  log: Pick<Logger, 'warn'>
}>

/** Our own pod, which peers may reach through the mesh, above all to scrape its metrics. */
export class OwnPod {
  readonly #parts: Parts
  #proxy: Promise<PodProxy | undefined> = Promise.resolve(undefined)

  constructor(parts: Parts) {
    this.#parts = parts
    if (parts.pod) parts.readiness.pending(ownPodTask)
  }

  /** To be called once, when the mesh is known: who listens before that does not know the policies about it. */
  serve(signal: AbortSignal): void {
    const { pod } = this.#parts
    if (pod) this.#proxy = this.#start(pod, signal)
  }

  async #start(own: PodName, signal: AbortSignal): Promise<PodProxy | undefined> {
    const { workers, readiness, log } = this.#parts
    const pod = { ...own, uid: `own/${own.namespace}/${own.name}` }
    while (!signal.aborted) {
      try {
        const proxy = await workers.startPod(pod, ownNetns(), 'own')
        readiness.done(ownPodTask)
        return proxy
      } catch (error) {
        log.warn('our own pod cannot be reached through the mesh', { error: messageOf(error) })
        await sleep(retryMs, signal).catch(() => undefined)
      }
    }
    return undefined
  }

  async drain(): Promise<void> {
    await (await this.#proxy)?.drain()
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#proxy)?.close()
  }
}
