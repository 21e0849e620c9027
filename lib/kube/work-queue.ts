import { backoffMs, messageOf, sleep } from '#base'
import type { Logger } from '#telemetry'
import { isStatus } from './kube-error.ts'

/** What is done for each key, and how often at once. */
export type WorkQueueOptions = Readonly<{
  name: string
  /** Makes the world match, from the key alone. A rejection means: again, later. */
  reconcile(key: string, signal: AbortSignal): Promise<void>
  signal: AbortSignal
  log?: Logger
  /** Keys worked on at the same time; one key never twice. */
  concurrency?: number
  baseMs?: number
  capMs?: number
  random?: () => number
}>

/** Keys are those of objects, so there are about as many as objects; beyond this something makes them up. */
const maxKeys = 200_000

/** One that loses more races in a row than this has a rival. */
const usualConflicts = 3

/** Level-triggered work: keys, never events; a failed key comes back after a growing pause. */
export class WorkQueue implements AsyncDisposable {
  readonly #options: WorkQueueOptions
  readonly #closing = new AbortController()
  readonly #signal: AbortSignal
  readonly #waiting = new Set<string>()
  readonly #running = new Map<string, Promise<void>>()
  readonly #pausing = new Set<string>()
  readonly #failures = new Map<string, number>()
  #idlers: (() => void)[] = []

  constructor(options: WorkQueueOptions) {
    this.#options = options
    this.#signal = AbortSignal.any([options.signal, this.#closing.signal])
  }

  /** Asks for a reconcile of `key`; many requests before it starts are one. */
  add(key: string): void {
    if (this.#signal.aborted) return
    const { name, log } = this.#options
    if (this.#waiting.size >= maxKeys)
      return log?.error('work queue is full; key dropped', { queue: name, key })
    this.#waiting.add(key)
    queueMicrotask(() => this.#start())
  }

  /** Resolves when nothing is waiting, running or pausing after a failure. */
  idle(): Promise<void> {
    return this.#isIdle() ? Promise.resolve() : new Promise((done) => this.#idlers.push(done))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    this.#waiting.clear()
    await Promise.allSettled(this.#running.values())
  }

  #isIdle(): boolean {
    return this.#waiting.size === 0 && this.#running.size === 0 && this.#pausing.size === 0
  }

  #start(): void {
    const { concurrency = 1 } = this.#options
    for (const key of this.#waiting) {
      if (this.#signal.aborted || this.#running.size >= concurrency) break
      if (this.#running.has(key)) continue
      this.#waiting.delete(key)
      this.#running.set(key, this.#run(key))
    }
    if (!this.#isIdle()) return
    for (const done of this.#idlers) done()
    this.#idlers = []
  }

  async #run(key: string): Promise<void> {
    try {
      await this.#options.reconcile(key, this.#signal)
      this.#failures.delete(key)
    } catch (error) {
      if (!this.#signal.aborted) void this.#pause(key, error)
    } finally {
      this.#running.delete(key)
      queueMicrotask(() => this.#start())
    }
  }

  async #pause(key: string, error: unknown): Promise<void> {
    const { name, log, baseMs = 200, capMs = 60_000, random = Math.random } = this.#options
    const n = (this.#failures.get(key) ?? 0) + 1
    this.#failures.set(key, n)
    const waitMs = backoffMs(n, { baseMs, capMs, random })
    const details = { queue: name, key, error: messageOf(error), retryMs: Math.round(waitMs) }
    // Somebody else wrote first: what is there now is looked at again, and nobody need know.
    if (isStatus(error, 409) && n <= usualConflicts) log?.debug('reconcile again', details)
    else log?.warn('reconcile failed', details)
    this.#pausing.add(key)
    await sleep(waitMs, this.#signal).catch(() => undefined)
    this.#pausing.delete(key)
    this.add(key)
  }
}

/** A queue of keys to reconcile; closes with its signal or by dispose. */
export const workQueue = (options: WorkQueueOptions): WorkQueue => new WorkQueue(options)
