import { timerMs } from '#base'
import type { ByteStream } from '#hbone'
import { connectHttp } from './connect.ts'
import type {
  Body,
  HttpConnection,
  RequestHead,
  SendFailureReason,
  SendOptions,
  SendOutcome,
} from './exchange.ts'
import type { PoolDestination } from './pool-policy.ts'
import { type Group, idleMsOf, isShared, type Kept, pick, type Slot, type Waiting } from './pool-slot.ts'

/** What a group uses at the moment. */
export type PoolUse = Readonly<{ connections: number; pending: number; requests: number }>

/** Connections without a request that are kept, to one place and to all: a burst, or many names of one place, are no reason to hold more. */
type IdleLimits = Readonly<{ maxIdlePerKey: number; maxIdle: number }>
const defaultIdleLimits: IdleLimits = { maxIdlePerKey: 256, maxIdle: 4_096 }

const failure = (reason: SendFailureReason, error?: unknown): SendOutcome => ({
  kind: 'failure',
  reason,
  sent: false,
  error,
})

/** Connections to upstreams, kept and shared within what a policy allows. What it refuses is an outcome, not an error. */
export class HttpPool {
  readonly #slots = new Map<string, Slot>()
  readonly #places = new Map<string, Set<Slot>>()
  readonly #groups = new Map<string, Group>()
  /** Without a request, from the one that has been so for longest. */
  readonly #idle = new Set<Kept>()
  readonly #idleLimits: IdleLimits
  readonly #closing = new AbortController()
  /** The same, for those that ask with each request. */
  #over = false

  constructor(idleLimits: Partial<IdleLimits> = {}) {
    this.#idleLimits = { ...defaultIdleLimits, ...idleLimits }
  }

  use(group: string): PoolUse {
    return this.#groups.get(group) ?? { connections: 0, pending: 0, requests: 0 }
  }

  /** Never rejects. A body that is not sent is discarded. */
  send(
    destination: PoolDestination,
    request: RequestHead,
    body: Body | undefined,
    options: SendOptions,
  ): Promise<SendOutcome> {
    const group = this.#groupOf(destination.group)
    const refusal = options.signal.aborted
      ? failure('local-reset', options.signal.reason)
      : this.#over || group.requests >= destination.policy.maxRequests
        ? failure('pool-overflow')
        : undefined
    if (refusal) return refused(refusal, body)
    const slot = this.#slotOf(destination, group)
    const ready = pick(slot)
    if (ready?.connection) return this.#sendOn(ready, ready.connection, request, body, options)
    if (group.pending >= destination.policy.maxPending) {
      this.#forget(slot)
      return refused(failure('pool-overflow'), body)
    }
    return new Promise((settle) => {
      const onAbort = () => {
        this.#unqueue(slot, waiting)
        this.#leave(slot, waiting, failure('local-reset', options.signal.reason))
        this.#forget(slot)
      }
      const waiting: Waiting = { request, body, options, settle, onAbort }
      options.signal.addEventListener('abort', onAbort, { once: true })
      slot.waiting.push(waiting)
      group.pending++
      group.requests++
      this.#dialIfNeeded(slot)
    })
  }

  #groupOf(name: string): Group {
    const found = this.#groups.get(name)
    if (found) return found
    const group = { connections: 0, pending: 0, requests: 0 }
    this.#groups.set(name, group)
    return group
  }

  #slotOf(destination: PoolDestination, group: Group): Slot {
    const { key } = destination
    const slot = this.#slots.get(key) ?? this.#newSlot(destination, group)
    // The policy of the latest request holds.
    slot.destination = destination
    slot.leaving = false
    return slot
  }

  #newSlot(destination: PoolDestination, group: Group): Slot {
    const { key, place = key } = destination
    const lists = { open: new Set<Kept>(), free: [], waiting: [] }
    const slot: Slot = { key, place, group, destination, dialling: 0, leaving: false, ...lists }
    this.#slots.set(key, slot)
    const others = this.#places.get(place)
    if (others) others.add(slot)
    else this.#places.set(place, new Set([slot]))
    return slot
  }

  /** Nothing is kept for destinations without connections: endpoints come and go. */
  #forget(slot: Slot): void {
    const { group, destination, key, place } = slot
    if (slot.open.size === 0 && slot.waiting.length === 0 && slot.dialling === 0) {
      this.#slots.delete(key)
      const others = this.#places.get(place)
      others?.delete(slot)
      if (others?.size === 0) this.#places.delete(place)
    }
    if (group.connections === 0 && group.requests === 0) this.#groups.delete(destination.group)
  }

  #sendOn(
    kept: Kept,
    connection: HttpConnection,
    request: RequestHead,
    body: Body | undefined,
    options: SendOptions,
  ): Promise<SendOutcome> {
    kept.slot.group.requests++
    if (kept.active++ === 0) this.#idle.delete(kept)
    kept.served++
    const { maxRequestsPerConnection } = kept.slot.destination.policy
    const answer = connection.send(request, body, options)
    if (maxRequestsPerConnection > 0 && kept.served >= maxRequestsPerConnection) connection.drain()
    return answer
  }

  #dialIfNeeded(slot: Slot): void {
    const { policy, version } = slot.destination
    const each = isShared(version) ? policy.maxConcurrentStreams : 1
    while (slot.waiting.length > slot.dialling * each) {
      const mayDial = slot.group.connections < policy.maxConnections || slot.open.size + slot.dialling === 0
      if (!mayDial) return
      void this.#dial(slot)
    }
  }

  async #dial(slot: Slot): Promise<void> {
    slot.dialling++
    slot.group.connections++
    const { destination } = slot
    const late = AbortSignal.timeout(timerMs(destination.policy.connectMs))
    try {
      const carrier: { leaves: boolean; kept?: Kept } = { leaves: false }
      const leaving = () => {
        carrier.leaves = true
        carrier.kept?.connection?.drain()
      }
      const stream = await destination.dial(AbortSignal.any([late, this.#closing.signal]), leaving)
      slot.dialling--
      carrier.kept = this.#keep(slot, stream)
      if (carrier.leaves) leaving()
    } catch (error) {
      slot.dialling--
      slot.group.connections--
      const reason = late.aborted ? 'connect-timeout' : 'connect-failure'
      // As Envoy has it: who waits for this destination hears at once, and may try another.
      for (const waiting of slot.waiting.splice(0)) this.#leave(slot, waiting, failure(reason, error))
      this.#forget(slot)
    }
  }

  #keep(slot: Slot, stream: ByteStream): Kept {
    const { version, limits, policy } = slot.destination
    const kept: Kept = {
      slot,
      connection: undefined,
      served: 0,
      active: 0,
      free: false,
      idle: undefined,
      idleMs: 0,
      end: undefined,
    }
    slot.open.add(kept)
    if (policy.maxConnectionMs > 0)
      kept.end = setTimeout(() => kept.connection?.drain(), timerMs(policy.maxConnectionMs)).unref()
    const owner = {
      requestEnded: () => this.#requestEnded(kept),
      closed: () => this.#closed(kept),
    }
    kept.connection = connectHttp(stream, { version, owner, ...(limits && { limits }) })
    this.#offer(kept)
    if (slot.leaving) kept.connection.drain()
    return kept
  }

  /** Gives those that wait to connections that are free. */
  #serve(slot: Slot): void {
    for (let first = slot.waiting[0]; first !== undefined; first = slot.waiting[0]) {
      const ready = pick(slot)
      if (ready?.connection === undefined) break
      slot.waiting.shift()
      this.#stopWaiting(first)
      slot.group.pending--
      slot.group.requests--
      const { settle } = first
      void this.#sendOn(ready, ready.connection, first.request, first.body, first.options).then(settle)
    }
    this.#dialIfNeeded(slot)
  }

  #requestEnded(kept: Kept): void {
    kept.active--
    kept.slot.group.requests--
    if (kept.connection?.available) this.#offer(kept)
  }

  #offer(kept: Kept): void {
    const { slot } = kept
    if (!kept.free) {
      kept.free = true
      slot.free.push(kept)
    }
    this.#serve(slot)
    if (kept.active > 0) return
    this.#idle.add(kept)
    this.#trimIdle(slot)
    const idleMs = idleMsOf(kept)
    if (kept.idle && kept.idleMs === idleMs) return void kept.idle.refresh()
    clearTimeout(kept.idle)
    kept.idleMs = idleMs
    kept.idle = idleMs === 0 ? undefined : setTimeout(() => this.#onIdle(kept), timerMs(idleMs)).unref()
  }

  /** Who has waited for longest goes. */
  #trimIdle({ free }: Slot): void {
    const { maxIdle, maxIdlePerKey } = this.#idleLimits
    const [oldest] = this.#idle.size > maxIdle ? this.#idle : []
    const own = free.length > maxIdlePerKey ? free.find(({ active }) => active === 0) : undefined
    for (const one of [oldest, own]) {
      if (!one) continue
      this.#unoffer(one)
      one.connection?.drain()
    }
  }

  #unoffer(kept: Kept): void {
    this.#idle.delete(kept)
    const { free } = kept.slot
    const at = kept.free ? free.indexOf(kept) : -1
    if (at >= 0) free.splice(at, 1)
    kept.free = false
  }

  #onIdle(kept: Kept): void {
    if (kept.active === 0) kept.connection?.drain()
    else kept.idle?.refresh()
  }

  #closed(kept: Kept): void {
    const { slot } = kept
    clearTimeout(kept.idle)
    clearTimeout(kept.end)
    this.#unoffer(kept)
    if (!slot.open.delete(kept)) return
    slot.group.connections--
    this.#dialIfNeeded(slot)
    this.#forget(slot)
  }

  #stopWaiting({ options, onAbort }: Waiting): void {
    options.signal.removeEventListener('abort', onAbort)
  }

  #unqueue(slot: Slot, waiting: Waiting): void {
    const at = slot.waiting.indexOf(waiting)
    if (at >= 0) slot.waiting.splice(at, 1)
  }

  #leave({ group }: Slot, waiting: Waiting, outcome: SendOutcome): void {
    this.#stopWaiting(waiting)
    group.pending--
    group.requests--
    waiting.body?.discard()
    waiting.settle(outcome)
  }

  /**
   * Connections of this place take no more requests and close after the last: its endpoint has gone, or is somebody else
   * by now. Whoever asks for it again gets a new one.
   */
  drain(place: string): void {
    for (const slot of this.#places.get(place) ?? []) {
      slot.leaving = true
      for (const { connection } of slot.open) connection?.drain()
    }
  }

  /** All of them: who we are has a new certificate, and what is opened from now on shows it. */
  drainAll(): void {
    for (const place of this.#places.keys()) this.drain(place)
  }

  /** Ends everything at once. */
  close(): void {
    this.#over = true
    this.#closing.abort()
    for (const slot of this.#slots.values()) {
      for (const { connection } of slot.open) connection?.destroy()
    }
  }
}

function refused(outcome: SendOutcome, body: Body | undefined): Promise<SendOutcome> {
  body?.discard()
  return Promise.resolve(outcome)
}
