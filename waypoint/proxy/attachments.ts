import type { MeshState } from '#mesh'
import { type Accepted, keyOf, resolveTarget, type Self, type Target } from '../target/index.ts'

/** How long clients that have not heard yet still come for what had us: as long as a push may take to all nodes. */
const detachedMs = 60_000
/** How long a client may be ahead of us: it has heard that something has us now, and we have not. */
const aheadMs = 5_000
/** Tunnels that wait for us to hear. Who finds no place is refused at once. */
const maxAhead = 1_000
/** Targets that are remembered: those that tunnels came for. The one that was asked for longest ago gives way. */
const maxRemembered = 4_096
/** A burst of pushes is one look at what is remembered. */
const sweepMs = 500

type Remembered = { authority: string; detachedAt: number | undefined }

/** What has us as its waypoint, what had us until a moment ago, and what is about to have us. */
export class Attachments {
  readonly #state: MeshState
  readonly #self: () => Omit<Self, 'lately'>
  readonly #now: () => number
  readonly #remembered = new Map<string, Remembered>()
  readonly #listening: Disposable
  readonly #ahead = new Set<() => void>()
  #sweeping: NodeJS.Timeout | undefined
  /** Counts what was pushed. */
  #version = 0

  constructor(
    state: MeshState,
    self: () => Omit<Self, 'lately'>,
    now: () => number = () => performance.now(),
  ) {
    this.#state = state
    this.#self = self
    this.#now = now
    this.#listening = state.onChange(() => this.#changed())
  }

  /** What a new tunnel is for. One that we may only not have heard of yet waits for a moment. */
  resolve(authority: string, lost: () => AbortSignal): Target | Promise<Target> {
    const target = this.#resolve(authority)
    if (!isAhead(target) || this.#ahead.size >= maxAhead) return target
    const signal = lost()
    return new Promise((resolve) => {
      const answer = (found: Target) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', giveUp)
        this.#ahead.delete(look)
        resolve(found)
      }
      const look = () => {
        const found = this.#resolve(authority)
        if (!isAhead(found)) answer(found)
      }
      const giveUp = () => answer(target)
      const timer = setTimeout(giveUp, aheadMs)
      signal.addEventListener('abort', giveUp, { once: true })
      this.#ahead.add(look)
    })
  }

  /** What an open tunnel is for now; who was let in because it had us is sent straight on when it has us no more. */
  present(authority: string, opened: Accepted): () => Target {
    const own = keyOf(opened)
    const lately = (key: string) => key === own || this.#lately(key)
    let version = this.#version
    let target: Target = opened
    return () => {
      if (version === this.#version) return target
      version = this.#version
      target = resolveTarget(this.#state, { ...this.#self(), lately }, authority)
      return target
    }
  }

  #resolve(authority: string): Target {
    const self = { ...this.#self(), lately: (key: string) => this.#lately(key) }
    const target = resolveTarget(this.#state, self, authority)
    if (target.kind !== 'refuse' && target.reason === 'attached') this.#remember(keyOf(target), authority)
    return target
  }

  #remember(key: string, authority: string): void {
    this.#remembered.delete(key)
    this.#remembered.set(key, { authority, detachedAt: undefined })
    if (this.#remembered.size <= maxRemembered) return
    for (const [oldest] of this.#remembered) return void this.#remembered.delete(oldest)
  }

  #lately(key: string): boolean {
    const known = this.#remembered.get(key)
    if (!known) return false
    known.detachedAt ??= this.#now()
    return this.#now() - known.detachedAt < detachedMs
  }

  #changed(): void {
    this.#version++
    for (const look of this.#ahead) look()
    if (this.#remembered.size > 0) this.#sweeping ??= setTimeout(() => this.#sweep(), sweepMs).unref()
  }

  /** Notes what has us no more, so that its time runs from when it was detached and not from when somebody came for it. */
  #sweep(): void {
    this.#sweeping = undefined
    const self = { ...this.#self(), lately: () => false }
    for (const [key, known] of this.#remembered) {
      const target = resolveTarget(this.#state, self, known.authority)
      const isOurs = target.kind !== 'refuse' && keyOf(target) === key
      if (isOurs) known.detachedAt = undefined
      else if (!this.#lately(key)) this.#remembered.delete(key)
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#sweeping)
    this.#listening[Symbol.dispose]()
  }
}

/** Somebody in the mesh thinks that it has us. */
const isAhead = (target: Target) => target.kind === 'refuse' && target.reason === 'not-attached'
