import { Session } from 'node:inspector/promises'
import { isRecord, MeshError } from '#base'

/** A thread of this process, asked through V8's own protocol. */
export type Thread = Readonly<{
  name: string
  ask(method: string, params?: object): Promise<unknown>
}>

/** A thread that does not answer in this time is left out: its loop is held up. */
const answerMs = 5_000

/**
 * The control thread and the data workers, for one profile. The session is in-process: nothing listens anywhere, and
 * it is gone with `dispose`.
 */
export class Threads {
  readonly #session = new Session()
  readonly #workers = new Map<string, string>()
  readonly #answers = new Map<number, PromiseWithResolvers<unknown>>()
  #last = 0

  private constructor() {
    this.#session.connect()
    this.#session.on('NodeWorker.attachedToWorker', ({ params }) => {
      this.#workers.set(params.sessionId, params.workerInfo.title)
    })
    this.#session.on('NodeWorker.detachedFromWorker', ({ params }) => this.#workers.delete(params.sessionId))
    this.#session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => this.#take(params.message))
  }

  static async open(): Promise<Threads> {
    const threads = new Threads()
    await threads.#session.post('NodeWorker.enable', { waitForDebuggerOnStart: false })
    return threads
  }

  /** Those that live now. */
  list(): readonly Thread[] {
    const main: Thread = { name: 'control', ask: (method, params) => this.#session.post(method, params) }
    const workers = [...this.#workers].map(([sessionId, title]): Thread => {
      const name = title.replace(/^\[worker \d+\] /, '')
      return { name, ask: (method, params) => this.#askWorker(sessionId, method, params) }
    })
    return [main, ...workers]
  }

  /** Asks every thread the same; a worker that has gone or does not answer is left out. */
  async every<T>(ask: (thread: Thread) => Promise<T>): Promise<readonly T[]> {
    const answers = await Promise.allSettled(this.list().map(ask))
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  }

  async #askWorker(sessionId: string, method: string, params?: object): Promise<unknown> {
    const id = ++this.#last
    const answer = Promise.withResolvers<unknown>()
    const late = () =>
      answer.reject(new MeshError('timeout', { message: `${method}: the thread does not answer` }))
    const timer = setTimeout(late, answerMs)
    this.#answers.set(id, answer)
    try {
      const message = JSON.stringify({ id, method, params })
      await this.#session.post('NodeWorker.sendMessageToWorker', { sessionId, message })
      return await answer.promise
    } finally {
      clearTimeout(timer)
      this.#answers.delete(id)
    }
  }

  #take(text: string): void {
    const message: unknown = JSON.parse(text)
    if (!isRecord(message) || typeof message['id'] !== 'number') return
    const { id, result, error } = message
    if (error === undefined) this.#answers.get(id)?.resolve(result)
    else this.#answers.get(id)?.reject(new MeshError('unavailable', { message: JSON.stringify(error) }))
  }

  [Symbol.dispose](): void {
    this.#session.disconnect()
  }
}
