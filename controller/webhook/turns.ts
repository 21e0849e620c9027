/** Bytes per second in the long run, and so many at once. */
type Pace = Readonly<{ burst: number; perSecond: number }>
type Paces = Readonly<{ perAddress: Pace; together: Pace }>

/** In the long run an address has a quarter of our thread, which xDS shares, and all together half of it; see `msCost`. A client that applies 1,000 objects at once has them read at once. */
const usualPaces: Paces = {
  perAddress: { burst: 16 << 20, perSecond: 4 << 20 },
  together: { burst: 32 << 20, perSecond: 8 << 20 },
}
/** What a request costs besides its bytes, and a connection (a handshake), in bytes. */
export const requestCost = 16 << 10
export const connectionCost = 32 << 10
/** What a millisecond of the processor costs, in bytes: JSON can be made that takes a hundred times as long as its length would say. */
const msCost = 16 << 10
/** What one review can cost beyond its bytes: who asks for one after the other waits, and is never sent away for what it owes. */
const mostBeyond = 4 << 20
/** The API server waits for 5 s, as we ask it to. */
const longestWaitMs = 3_000
/** Addresses that are told apart; all others together are one. */
const maxAccounts = 4_096

type Waiter = Readonly<{ cost: number; go: () => void }>

class Account {
  readonly waiting = new Set<Waiter>()
  readonly #pace: Pace
  #left: number
  #atMs: number

  constructor(pace: Pace, nowMs: number) {
    this.#pace = pace
    this.#left = pace.burst
    this.#atMs = nowMs
  }

  /** Also what is more than is left: who owes something waits until it is paid off. */
  charge(bytes: number, nowMs: number): void {
    this.#left = this.#leftAt(nowMs) - bytes
    this.#atMs = nowMs
  }

  /** Until nothing is owed. */
  waitMs(nowMs: number): number {
    return Math.max(0, Math.ceil((-this.#leftAt(nowMs) / this.#pace.perSecond) * 1000))
  }

  /** What is left of its share; below 0 where it owes something. */
  left(nowMs: number): number {
    return this.#leftAt(nowMs)
  }

  /** It has had so little that nobody's haste counts against it. */
  isModest(nowMs: number): boolean {
    return this.#leftAt(nowMs) >= this.#pace.burst / 2
  }

  /** Nothing is remembered against it. */
  isIdle(nowMs: number): boolean {
    return this.waiting.size === 0 && this.#leftAt(nowMs) >= this.#pace.burst
  }

  #leftAt(nowMs: number): number {
    const { burst, perSecond } = this.#pace
    return Math.min(burst, this.#left + ((nowMs - this.#atMs) / 1000) * perSecond)
  }
}

/**
 * Whose review is read next. One at a time, with everything else that there is to do in between; first of the address
 * that has had least, as fast as its pace allows: strangers who send much wait for themselves, not the API server for them.
 */
export class Turns {
  readonly #accounts = new Map<string, Account>()
  /** Accounts with somebody waiting; who had a turn goes to the end. */
  readonly #ring = new Set<Account>()
  readonly #pace: Pace
  readonly #all: Account
  readonly #now: () => number
  #isNext = false
  #later: NodeJS.Timeout | undefined

  constructor({ perAddress, together }: Paces = usualPaces, now: () => number = () => performance.now()) {
    this.#pace = perAddress
    this.#now = now
    this.#all = new Account(together, now())
  }

  /** What an address has had of us; false: it owes more than anybody would wait for. */
  charge(address: string, bytes: number): boolean {
    const [account, now] = [this.#accountOf(address), this.#now()]
    account.charge(bytes, now)
    return account.waitMs(now) <= longestWaitMs
  }

  /** What a turn of `ms` of the processor has taken beyond the bytes that were charged for it. */
  settle(address: string, ms: number, charged: number): void {
    const beyond = Math.min(mostBeyond, Math.max(0, ms * msCost - charged))
    this.charge(address, beyond)
    this.#all.charge(beyond, this.#now())
  }

  /** Waits for the address' turn, for `cost` bytes that were charged before; false: it would come too late, or nobody waits for it any more. */
  turn(address: string, cost: number, signal: AbortSignal): Promise<boolean> {
    const account = this.#accountOf(address)
    const over = AbortSignal.any([signal, AbortSignal.timeout(longestWaitMs)])
    if (over.aborted) return Promise.resolve(false)
    return new Promise((resolve) => {
      const gone = () => {
        account.waiting.delete(waiter)
        if (account.waiting.size === 0) this.#ring.delete(account)
        resolve(false)
      }
      const go = () => {
        over.removeEventListener('abort', gone)
        resolve(true)
      }
      const waiter = { cost, go }
      account.waiting.add(waiter)
      this.#ring.add(account)
      over.addEventListener('abort', gone, { once: true })
      this.#soon()
    })
  }

  #soon(): void {
    clearTimeout(this.#later)
    if (this.#isNext || this.#ring.size === 0) return
    this.#isNext = true
    setImmediate(() => {
      this.#isNext = false
      this.#next()
    })
  }

  #next(): void {
    const now = this.#now()
    const pause = this.#all.waitMs(now)
    const waitOf = (account: Account) => Math.max(account.waitMs(now), account.isModest(now) ? 0 : pause)
    const ready = [...this.#ring].filter((account) => waitOf(account) === 0)
    const turn = ready.reduce<Account | undefined>(
      (best, one) => (best !== undefined && best.left(now) >= one.left(now) ? best : one),
      undefined,
    )
    const [waiter] = turn?.waiting ?? []
    if (turn === undefined || waiter === undefined) {
      const waits = [...this.#ring].map(waitOf)
      if (waits.length > 0) this.#later = setTimeout(() => this.#soon(), Math.min(...waits))
      return
    }
    this.#ring.delete(turn)
    turn.waiting.delete(waiter)
    if (turn.waiting.size > 0) this.#ring.add(turn)
    this.#all.charge(waiter.cost, now)
    waiter.go()
    this.#soon()
  }

  #accountOf(address: string): Account {
    const known = this.#accounts.get(address)
    if (known !== undefined) return known
    if (this.#accounts.size >= maxAccounts) this.#forget()
    const key = this.#accounts.size < maxAccounts ? address : ''
    const account = this.#accounts.get(key) ?? new Account(this.#pace, this.#now())
    this.#accounts.set(key, account)
    return account
  }

  #forget(): void {
    const now = this.#now()
    for (const [address, account] of this.#accounts) if (account.isIdle(now)) this.#accounts.delete(address)
  }
}
