import { abortable, backoffMs, MeshError, messageOf } from '#base'
import { type Clock, systemClock } from './clock.ts'
import { createCsr } from './csr.ts'
import { generateKeyPair } from './keys.ts'
import type { HeldCertificates, IdentityMetrics } from './metrics.ts'
import { describeSkew, isLate, refreshInMs, skewMs } from './renewal.ts'
import { type Priority, SignQueue, type Ticket } from './sign-queue.ts'
import type { SpiffeId } from './spiffe.ts'
import { parseCaAnswer, type WorkloadCertificate } from './workload-certificate.ts'

/** Has a request signed; the answer is the CA's certificate list, leaf first, roots last. */
export type Sign = (csrPem: string, id: SpiffeId, signal: AbortSignal) => Promise<readonly string[]>

/** Who signs, and who is told of it. */
export type CertificatesOptions = Readonly<{
  sign: Sign
  log: Readonly<{ warn(message: string, fields?: Readonly<Record<string, unknown>>): void }>
  /** Told of every certificate that came, so that copies elsewhere are kept up to date. */
  renewed?: (certificate: WorkloadCertificate) => void
  metrics?: Pick<IdentityMetrics, 'renewed' | 'renewalFailed' | 'notPrepared' | 'skewed' | 'held'> | undefined
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
  /** Monotonic time at which the timer fires. */
  dueAt: number
}

/** ztunnel's waits between tries for one identity. */
const backoff = { baseMs: 1_000, capMs: 150_000 }
/** What is due all at once, after a jump of the clock or a change of the roots, is asked for over this time. */
const spreadMs = 2_500

/** The certificates of a node's workloads: fetched once per identity, renewed at half-life, kept while they are good. */
export class Certificates {
  readonly #options: CertificatesOptions
  readonly #clock: Clock
  readonly #random: () => number
  readonly #queue: SignQueue
  readonly #entries = new Map<SpiffeId, Entry>()
  readonly #jumps: Disposable

  constructor(options: CertificatesOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? Math.random
    this.#queue = new SignQueue(options.maxParallel ?? 8)
    this.#jumps = this.#clock.onJump(() => this.#onJump())
    options.metrics?.held(() => this.#count())
  }

  /** The certificate of `id`, fetched if need be; `identity-unavailable` while the CA keeps failing. */
  async get(id: SpiffeId, signal: AbortSignal): Promise<WorkloadCertificate> {
    signal.throwIfAborted()
    const entry = this.#entry(id)
    const usable = this.#usable(entry)
    if (usable) return usable
    // Between two tries everybody is told at once instead of waiting for the next (ztunnel: identity/manager.rs).
    if (entry.fetching === undefined && entry.error === undefined) this.#fetch(entry, 'realtime')
    entry.ticket.priority = 'realtime' // also when it was being prepared already
    if (entry.fetching) await abortable(entry.fetching, signal)
    const fetched = this.#usable(entry)
    if (fetched) return fetched
    throw new MeshError('identity-unavailable', {
      message: `no certificate for ${id}: ${messageOf(entry.error ?? 'forgotten')}`,
      cause: entry.error,
    })
  }

  /** The certificate that `id` shows now; undefined when it has none that is good. Asks nobody. */
  current(id: SpiffeId): WorkloadCertificate | undefined {
    const entry = this.#entries.get(id)
    return entry && this.#usable(entry)
  }

  /** Fetches the certificate of `id` before anybody asks. */
  prefetch(id: SpiffeId): void {
    if (this.#entries.has(id)) return
    if (this.#entries.size >= this.#maxIdentities) {
      this.#options.metrics?.notPrepared()
      this.#options.log.warn('too many identities on this node', { identity: id })
      return
    }
    this.#fetch(this.#entry(id), 'warmup')
  }

  /** Renews everything within seconds, because what the CA answers has changed: its roots. */
  refreshAll(): void {
    for (const entry of this.#entries.values()) {
      // What is on its way may have been answered before the change.
      if (entry.fetching) void entry.fetching.then(() => this.#later(entry, spreadMs * this.#random()))
      else if (entry.certificate) this.#later(entry, spreadMs * this.#random())
    }
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
    this.#jumps[Symbol.dispose]()
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
      ticket: { priority: 'background', dueAt: 0 },
      certificate: undefined,
      error: undefined,
      failures: 0,
      fetching: undefined,
      timer: undefined,
      dueAt: 0,
    }
    this.#entries.set(id, entry)
    return entry
  }

  #usable({ certificate }: Entry): WorkloadCertificate | undefined {
    return certificate && certificate.notAfter.getTime() > this.#clock.now() ? certificate : undefined
  }

  #fetch(entry: Entry, priority: Priority): void {
    Object.assign(entry.ticket, { priority, dueAt: this.#clock.monotonic() })
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
    stop.signal.throwIfAborted() // forgotten while it waited for its turn
    const key = generateKeyPair()
    const chain = await this.#options.sign(createCsr({ id, key }), id, stop.signal)
    const certificate = parseCaAnswer(chain, key.privateKey, id)
    const skew = skewMs(certificate, this.#clock.now())
    this.#options.metrics?.skewed(Math.abs(skew) / 1_000)
    // One that nobody accepts is a failure with its pauses, not something to fetch again for every connection.
    if (skew < 0 || certificate.notAfter.getTime() <= this.#clock.now()) {
      const message = `the CA sent an expired certificate: ${describeSkew(skew)}`
      throw new MeshError('identity-unavailable', { message })
    }
    // One that is not valid yet is good for everybody whose clock is right, so it is used.
    if (skew > 0) {
      const log = { identity: id, error: `not yet valid: ${describeSkew(skew)}` }
      this.#options.log.warn('clock skew', log)
    }
    return certificate
  }

  #onCertificate(entry: Entry, certificate: WorkloadCertificate): void {
    if (entry.stop.signal.aborted) return
    entry.certificate = certificate
    entry.error = undefined
    entry.failures = 0
    this.#options.metrics?.renewed()
    this.#options.renewed?.(certificate)
    this.#later(entry, refreshInMs(certificate, this.#clock.now(), this.#random))
  }

  #onFailure(entry: Entry, error: unknown): void {
    if (entry.stop.signal.aborted) return
    entry.error = error
    entry.failures++
    this.#options.metrics?.renewalFailed()
    const waitMs = backoffMs(entry.failures, { ...backoff, random: this.#random })
    this.#options.log.warn('certificate not renewed', {
      identity: entry.id,
      error: messageOf(error),
      retry_ms: Math.round(waitMs),
    })
    const left = this.#usable(entry)?.notAfter.getTime()
    this.#later(entry, left === undefined ? waitMs : Math.min(waitMs, left - this.#clock.now()))
  }

  #later(entry: Entry, ms: number): void {
    if (entry.stop.signal.aborted) return
    entry.timer?.[Symbol.dispose]()
    entry.dueAt = this.#clock.monotonic() + ms
    entry.timer = this.#clock.after(ms, () =>
      this.#fetch(entry, this.#usable(entry) === undefined ? 'warmup' : 'background'),
    )
  }

  /**
   * The time of day was set, or the machine slept: what is due by the new time is fetched soon, though not all in one
   * moment. Nothing is put off, for the old plan was right by monotonic time.
   */
  #onJump(): void {
    const { log } = this.#options
    log.warn('the clock has jumped', { identities: this.#entries.size })
    for (const entry of this.#entries.values()) {
      if (entry.fetching || !entry.certificate || entry.failures > 0) continue
      const ms = refreshInMs(entry.certificate, this.#clock.now(), () => 0)
      const planned = entry.dueAt - this.#clock.monotonic()
      if (ms < planned) this.#later(entry, ms + spreadMs * this.#random())
    }
  }

  #count(): HeldCertificates {
    const now = this.#clock.now()
    const held = [...this.#entries.values()].flatMap(({ certificate }) => certificate ?? [])
    const good = held.filter(({ notAfter }) => notAfter.getTime() > now)
    return {
      available: good.length,
      unavailable: this.#entries.size - good.length,
      late: held.filter((certificate) => isLate(certificate, now)).length,
      nextExpiryMs: Math.min(...held.map(({ notAfter }) => notAfter.getTime())),
    }
  }
}
