import { isDeepStrictEqual } from 'node:util'
import { coalesce, messageOf, retry } from '#base'
import { isStatus, type KubeClient, kinds } from '#kube'
import type { Logger } from '#telemetry'
import type { NodePod } from './pod/pod.ts'

type Status = Readonly<Record<string, unknown>>

/** Keeps a pod's status in the API what it was last set to; intermediate values may be skipped. */
export class StatusWriter {
  readonly #client: KubeClient
  readonly #pod: NodePod
  readonly #signal: AbortSignal
  readonly #log: Logger
  #wanted: Status | undefined
  #written: Status | undefined
  readonly #write = coalesce(() => this.#writeOnce())

  constructor(client: KubeClient, pod: NodePod, signal: AbortSignal, log: Logger) {
    this.#client = client
    this.#pod = pod
    this.#signal = signal
    this.#log = log
  }

  /** Wants this status from now on. Resolves when it, or a later one, is there or cannot be. */
  set(status: Status): Promise<void> {
    if (isDeepStrictEqual(status, this.#wanted) && this.#wanted === this.#written) return Promise.resolve()
    this.#wanted = status
    return this.#write()
  }

  async #writeOnce(): Promise<void> {
    const { name, namespace, uid } = this.#pod.metadata
    try {
      await retry(
        async () => {
          const status = this.#wanted
          if (status === this.#written) return
          // The uid makes the write fail where another pod has taken the name.
          const patch = { metadata: { uid }, status }
          await this.#client.mergePatch({ kind: kinds.Pod, name, namespace }, patch, {
            subresource: 'status',
            signal: this.#signal,
          })
          this.#written = status
        },
        { signal: this.#signal, attempts: Infinity, baseMs: 200, capMs: 5_000 },
      )
    } catch (error) {
      if (this.#signal.aborted || isStatus(error, 404)) return
      this.#log.warn('pod status not written', { pod: `${namespace}/${name}`, error: messageOf(error) })
    }
  }
}
