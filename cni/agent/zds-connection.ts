import { MeshError, messageOf } from '#base'
import { closeFd, type Seqpacket } from '#linux'
import { zds } from '#wire'

/** Istio's deadline for each answer of ztunnel. */
const ackTimeoutMs = 5_000
/** Requests that may wait for the ones before them: more pods than a node runs. */
const maxWaiting = 2_048

type Payload = NonNullable<zds.WorkloadRequest['payload']>
type Waiting = Readonly<{
  payload: Payload
  fds: readonly number[]
  resolve: () => void
  reject: (error: Error) => void
}>

/** One ztunnel: requests one at a time, each with its ack. The first thing it says is hello. */
export class ZdsConnection implements Disposable {
  readonly #peer: Seqpacket
  readonly #ackTimeoutMs: number
  readonly #hello = Promise.withResolvers<void>()
  readonly #closed = Promise.withResolvers<string>()
  readonly #waiting: Waiting[] = []
  #greeted = false
  #open = true
  #current: Waiting | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(peer: Seqpacket, options: { ackTimeoutMs?: number } = {}) {
    this.#peer = peer
    this.#ackTimeoutMs = options.ackTimeoutMs ?? ackTimeoutMs
    this.#hello.promise.catch(() => undefined) // asked for only while the connection is set up
    peer.onMessage = (bytes, fds) => this.#onMessage(bytes, fds)
    peer.onClose = (error) => this.#close(error ? `broke: ${messageOf(error)}` : 'closed by ztunnel')
    this.#timer = setTimeout(() => this.#close('no hello in time'), this.#ackTimeoutMs)
  }

  /** Resolves at the hello; rejects when the connection ends first. */
  get hello(): Promise<void> {
    return this.#hello.promise
  }

  /** Resolves with the reason when it is over. */
  get closed(): Promise<string> {
    return this.#closed.promise
  }

  /**
   * Sends a request after those before it and waits for its ack. A refusal by ztunnel rejects and leaves the connection
   * as it is. Silence ends it: acks carry no number, so a late one would be taken for the answer to the next request
   * (Istio keeps the connection; ztunnel comes back at once and gets a fresh snapshot).
   */
  request(payload: Payload, fds: readonly number[] = []): Promise<void> {
    if (!this.#open) return Promise.reject(gone('the connection to ztunnel is closed'))
    if (this.#waiting.length >= maxWaiting)
      return Promise.reject(new MeshError('over-limit', { message: 'too many requests wait for ztunnel' }))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#waiting.push({ payload, fds, resolve, reject })
    this.#next()
    return promise
  }

  [Symbol.dispose](): void {
    this.#close('the agent closed it')
  }

  #next(): void {
    if (this.#current || !this.#open) return
    this.#current = this.#waiting.shift()
    if (!this.#current) return
    const { payload, fds } = this.#current
    try {
      this.#peer.send(zds.WorkloadRequest.encode({ payload }).finish(), fds)
      this.#timer = setTimeout(() => this.#close('no ack in time'), this.#ackTimeoutMs)
    } catch (error) {
      this.#close(`could not send: ${messageOf(error)}`)
    }
  }

  #onMessage(bytes: Uint8Array, fds: readonly number[]): void {
    if (fds.length > 0) return this.#violation('sent descriptors', fds)
    try {
      if (!this.#greeted) this.#onHello(zds.ZdsHello.decode(bytes))
      else this.#onAck(zds.WorkloadResponse.decode(bytes))
    } catch (error) {
      this.#violation(`sent something unreadable (${messageOf(error)})`)
    }
  }

  #onHello({ version }: zds.ZdsHello): void {
    if (version !== zds.Version.V1) return this.#violation(`speaks version ${version}`)
    clearTimeout(this.#timer)
    this.#greeted = true
    this.#hello.resolve()
  }

  #onAck({ payload }: zds.WorkloadResponse): void {
    const answered = this.#current
    if (!answered) return this.#violation('answered what nobody asked')
    if (payload === undefined) return this.#violation('sent an empty answer')
    clearTimeout(this.#timer)
    this.#current = undefined
    if (payload.value.error === '') answered.resolve()
    else answered.reject(gone(`ztunnel refused: ${payload.value.error}`))
    this.#next()
  }

  #violation(what: string, fds: readonly number[] = []): void {
    for (const fd of fds) closeFd(fd)
    this.#close(`protocol violation: ztunnel ${what}`)
  }

  #close(why: string): void {
    if (!this.#open) return
    this.#open = false
    clearTimeout(this.#timer)
    this.#peer[Symbol.dispose]()
    const error = gone(`connection to ztunnel: ${why}`)
    this.#hello.reject(error)
    for (const { reject } of [...(this.#current ? [this.#current] : []), ...this.#waiting.splice(0)])
      reject(error)
    this.#current = undefined
    this.#closed.resolve(why)
  }
}

const gone = (message: string) => new MeshError('unavailable', { message })
