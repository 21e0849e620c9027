import { backoffMs, MeshError, messageOf } from '#base'
import { type Clock, systemClock } from './clock.ts'
import { createCsr } from './csr.ts'
import { generateKeyPair } from './keys.ts'
import { SignQueue, type Ticket } from './sign-queue.ts'
import type { SpiffeId } from './spiffe.ts'
import { parseCaAnswer, type WorkloadCertificate } from './workload-certificate.ts'

/** Has a request signed; the answer is the CA's certificate list, leaf first, roots last. */
export type Sign = (csrPem: string, id: SpiffeId, signal: AbortSignal) => Promise<readonly string[]>

export type CertificatesOptions = Readonly<{
  sign: Sign
  log: Readonly<{ warn(message: string, fields?: Readonly<Record<string, unknown>>): void }>
  clock?: Clock
  random?: () => number
  /** Requests to the CA at a time (ztunnel: 8). */
  maxParallel?: number
  /** Identities of one node; far above the number of pods that a node can run. */
  maxIdentities?: number
}>

/** What is known of one identity, without its key. */
export type CertificateState = Readonly<{
  id: SpiffeId
  state: 'initializing' | 'available' | 'unavailable'
  certificate?: Omit<WorkloadCertificate, 'privateKeyPem'>
  error?: string
}>

type Entry = {
  readonly id: SpiffeId
  readonly stop: AbortController
  readonly ticket: Ticket
  certificate: WorkloadCertificate | undefined
  error: unknown
  failures: number
  fetching: Promise<void> | undefined
  timer: Disposable | undefined
}

/** ztunnel's waits between tries for one identity. */
const backoff = { baseMs: 1_000, capMs: 150_000 }
/** The renewal is spread over this part of a lifetime before its half. */
const jitter = 0.1
/** A CA that gives its certificates this little time is asked no faster. */
const fastestRefreshMs = 1_000

/** The certificates of a node's workloads: fetched once per identity, renewed at half-life, kept while they are good. */
export class Certificates {
  readonly #options: CertificatesOptions
  readonly #clock: Clock
  readonly #random: () => number
  readonly #queue: SignQueue
  readonly #entries = new Map<SpiffeId, Entry>()

  constructor(options: CertificatesOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? Math.random
    this.#queue = new SignQueue(options.maxParallel ?? 8)
  }

  /** The certificate of `id`, fetched if need be; `identity-unavailable` while the CA keeps failing. */
  async get(id: SpiffeId, signal: AbortSignal): Promise<WorkloadCertificate> {
    signal.throwIfAborted()
    const entry = this.#entry(id)
    const usable = this.#usable(entry)
    if (usable) return usable
    // Between two tries everybody is told at once instead of waiting for the next (ztunnel: identity/manager.rs).
    if (entry.fetching === undefined && entry.error === undefined) this.#fetch(entry, true)
    entry.ticket.urgent = true // also when it was being prepared already
    if (entry.fetching) await abortable(entry.fetching, signal)
    const fetched = this.#usable(entry)
    if (fetched) return fetched
    throw new MeshError('identity-unavailable', {
      message: `no certificate for ${id}: ${messageOf(entry.error ?? 'forgotten')}`,
      cause: entry.error,
    })
  }

  /** Fetches the certificate of `id` before anybody asks. */
  prefetch(id: SpiffeId): void {
    const known = this.#entries.has(id)
    if (known || this.#entries.size >= this.#maxIdentities) return
    this.#fetch(this.#entry(id), false)
  }

  /** Stops renewing `id`. */
  forget(id: SpiffeId): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#entries.delete(id)
    entry.timer?.[Symbol.dispose]()
    entry.stop.abort(new MeshError('identity-unavailable', { message: `${id} was forgotten` }))
  }

  /** Every identity and its state, for the admin interface; no keys. */
  dump(): readonly CertificateState[] {
    return [...this.#entries.values()].map(({ id, certificate, error }) => {
      if (certificate) {
        const { privateKeyPem: _, ...open } = certificate
        return { id, state: 'available', certificate: open }
      }
      return error === undefined
        ? { id, state: 'initializing' }
        : { id, state: 'unavailable', error: messageOf(error) }
    })
  }

  [Symbol.dispose](): void {
    for (const id of this.#entries.keys()) this.forget(id)
  }

  get #maxIdentities(): number {
    return this.#options.maxIdentities ?? 10_000
  }

  #entry(id: SpiffeId): Entry {
    const known = this.#entries.get(id)
    if (known) return known
    if (this.#entries.size >= this.#maxIdentities) {
      throw new MeshError('over-limit', { message: 'too many identities on this node' })
    }
    const entry: Entry = {
      id,
      stop: new AbortController(),
      ticket: { urgent: false },
      certificate: undefined,
      error: undefined,
      failures: 0,
      fetching: undefined,
      timer: undefined,
    }
    this.#entries.set(id, entry)
    return entry
  }

  #usable({ certificate }: Entry): WorkloadCertificate | undefined {
    return certificate && certificate.notAfter.getTime() > this.#clock.now() ? certificate : undefined
  }

  #fetch(entry: Entry, urgent: boolean): void {
    entry.ticket.urgent = urgent
    entry.timer?.[Symbol.dispose]()
    entry.timer = undefined
    entry.fetching ??= this.#queue
      .run(() => this.#signed(entry), entry.ticket)
      .then(
        (certificate) => this.#onCertificate(entry, certificate),
        (error: unknown) => this.#onFailure(entry, error),
      )
      .finally(() => {
        entry.fetching = undefined
      })
  }

  async #signed({ id, stop }: Entry): Promise<WorkloadCertificate> {
    stop.signal.throwIfAborted()
    const key = generateKeyPair()
    const chain = await this.#options.sign(createCsr({ id, key }), id, stop.signal)
    const certificate = parseCaAnswer(chain, key.privateKey, id)
    // One that nobody accepts is a failure with its pauses, not something to fetch again for every connection.
    if (certificate.notAfter.getTime() <= this.#clock.now())
      throw new MeshError('identity-unavailable', { message: 'the CA sent an expired certificate' })
    return certificate
  }

  #onCertificate(entry: Entry, certificate: WorkloadCertificate): void {
    if (entry.stop.signal.aborted) return
    entry.certificate = certificate
    entry.error = undefined
    entry.failures = 0
    this.#later(entry, this.#refreshIn(certificate))
  }

  /** At half of the lifetime, spread over a tenth of it, so that a node's identities are not renewed all at once. */
  #refreshIn({ notBefore, notAfter }: WorkloadCertificate): number {
    const life = notAfter.getTime() - notBefore.getTime()
    const at = notBefore.getTime() + life / 2 - life * jitter * this.#random()
    return Math.max(fastestRefreshMs, at - this.#clock.now())
  }

  #onFailure(entry: Entry, error: unknown): void {
    if (entry.stop.signal.aborted) return
    entry.error = error
    entry.failures++
    const waitMs = backoffMs(entry.failures, { ...backoff, random: this.#random })
    this.#options.log.warn('certificate not renewed', {
      identity: entry.id,
      error: messageOf(error),
      retry_ms: waitMs,
    })
    const left = this.#usable(entry)?.notAfter.getTime()
    this.#later(entry, left === undefined ? waitMs : Math.min(waitMs, left - this.#clock.now()))
  }

  #later(entry: Entry, ms: number): void {
    entry.timer = this.#clock.after(ms, () => this.#fetch(entry, this.#usable(entry) === undefined))
  }
}

function abortable(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
