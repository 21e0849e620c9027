import { type Code, MeshError, messageOf } from '#base'

/** What one side of a link may be asked, and what it answers. */
type Calls = Readonly<Record<string, { ask: unknown; answer: unknown }>>
type Handlers<C extends Calls> = {
  readonly [K in keyof C]: (ask: C[K]['ask']) => C[K]['answer'] | Promise<C[K]['answer']>
}

/** What `Worker` and `MessagePort` have in common. Messages arrive whole and in their order. */
export type Port = Readonly<{
  postMessage(value: unknown): void
  on(event: 'message', listener: (value: unknown) => void): unknown
  off(event: 'message', listener: (value: unknown) => void): unknown
}>

/** An error as it crosses from thread to thread: a class would arrive as a plain object. */
type Failure = Readonly<{
  code: Code | undefined
  message: string
  unsent: boolean
  errno: number | undefined
}>
type Packet =
  | Readonly<{ kind: string; ask: unknown; id: number }>
  | Readonly<{ id: number; answer: unknown }>
  | Readonly<{ id: number; failure: Failure }>

type Waiting = Readonly<{
  resolve: (answer: unknown) => void
  reject: (error: unknown) => void
  timer: NodeJS.Timeout | undefined
}>

/** Questions without an answer yet: each is about a pod, an identity or a batch, of which a node has far fewer. */
const maxWaiting = 16_384

/** One end of the talk between the control thread and a data worker: questions both ways, each with its answer. */
export class Link<Mine extends Calls, Theirs extends Calls> {
  readonly #port: Port
  readonly #handlers: Handlers<Mine>
  readonly #waiting = new Map<number, Waiting>()
  readonly #onMessage = (value: unknown) => this.#receive(value as Packet) // from our own other end
  #last = 0
  #closed: unknown

  constructor(port: Port, handlers: Handlers<Mine>) {
    this.#port = port
    this.#handlers = handlers
    port.on('message', this.#onMessage)
  }

  /** Asks, and waits as long as `timeoutMs` allows; without one the end of the other side is the bound. */
  ask<K extends keyof Theirs & string>(
    kind: K,
    ask: Theirs[K]['ask'],
    timeoutMs?: number,
  ): Promise<Theirs[K]['answer']> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed)
    if (this.#waiting.size >= maxWaiting)
      return Promise.reject(new MeshError('over-limit', { message: `too many questions wait for ${kind}` }))
    const id = ++this.#last
    const { promise, resolve, reject } = Promise.withResolvers<Theirs[K]['answer']>()
    const late = () => {
      this.#waiting.delete(id)
      reject(new MeshError('timeout', { message: `no answer to ${kind} in ${timeoutMs} ms` }))
    }
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs)
    this.#waiting.set(id, { resolve: (answer) => resolve(answer as Theirs[K]['answer']), reject, timer })
    this.#port.postMessage({ kind, ask, id } satisfies Packet)
    return promise
  }

  /** The other side is gone: whoever waits is told `error`. */
  close(error: unknown): void {
    if (this.#closed !== undefined) return
    this.#closed = error
    this.#port.off('message', this.#onMessage)
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer)
      reject(error)
    }
    this.#waiting.clear()
  }

  #receive(packet: Packet): void {
    if ('kind' in packet) return void this.#answer(packet.kind, packet.ask, packet.id)
    const waiting = this.#waiting.get(packet.id)
    if (!waiting) return // too late
    this.#waiting.delete(packet.id)
    clearTimeout(waiting.timer)
    if ('failure' in packet) waiting.reject(thrown(packet.failure))
    else waiting.resolve(packet.answer)
  }

  async #answer(kind: string, ask: unknown, id: number): Promise<void> {
    const handler = this.#handlers[kind]
    try {
      if (!handler) throw new MeshError('protocol', { message: `nobody answers ${kind}` })
      this.#send({ id, answer: await handler(ask) })
    } catch (error) {
      this.#send({ id, failure: failureOf(error) })
    }
  }

  #send(packet: Packet): void {
    if (this.#closed === undefined) this.#port.postMessage(packet)
  }
}

const failureOf = (error: unknown): Failure => ({
  code: error instanceof MeshError ? error.code : undefined,
  message: messageOf(error),
  unsent: error instanceof MeshError && error.unsent,
  errno: error instanceof MeshError ? error.errno : undefined,
})

const thrown = ({ code, message, unsent, errno }: Failure): Error =>
  code === undefined
    ? new Error(message)
    : new MeshError(code, { message, unsent, ...(errno === undefined ? {} : { errno }) })
