import {
  createRoot,
  issueCertificate,
  parseCsr,
  type Clock,
  type Sign,
  type SpiffeId,
  spiffeId,
} from '#identity'

export const hour = 3_600_000
const root = createRoot({ organization: 'test', validityMs: 1000 * hour })
export const id = (name: string): SpiffeId =>
  spiffeId({ trustDomain: 'cluster.local', namespace: 'test', serviceAccount: name })
export const never = new AbortController().signal
export const silent = { warn() {} }

/** A clock that moves when told to; timers run as it passes them. */
export function handClock() {
  let now = Date.parse('2026-01-01T00:00:00Z')
  let offset = 0
  const listeners = new Set<() => void>()
  const timers = new Map<object, { at: number; task: () => void }>()
  const clock: Clock = {
    now: () => now + offset,
    monotonic: () => now,
    onJump: (listener) => {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    after: (ms, task) => {
      const key = {}
      timers.set(key, { at: now + ms, task })
      return { [Symbol.dispose]: () => void timers.delete(key) }
    },
  }
  const settle = async () => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  const advance = async (ms: number) => {
    now += ms
    for (const [key, { at, task }] of timers) {
      if (at > now) continue
      timers.delete(key)
      task()
    }
    await settle()
  }
  /** Somebody sets the time of day. */
  const jump = (ms: number) => {
    offset += ms
    for (const listener of listeners) listener()
  }
  return { clock, advance, jump, settle, waiting: () => [...timers.values()].map(({ at }) => at - now) }
}

/** Signs at once, and notes for whom. `timeOf` is the CA's own clock. */
export const signer =
  (clock: Clock, calls: SpiffeId[], lifeMs = 24 * hour, timeOf = () => clock.now()): Sign =>
  async (csr, who) => {
    calls.push(who)
    const answer = parseCsr(csr)
    if ('reject' in answer) throw new Error(answer.reject)
    const leaf = issueCertificate({
      issuer: root,
      publicKey: answer.publicKey,
      uris: [who],
      notBefore: new Date(timeOf()),
      notAfter: new Date(timeOf() + lifeMs),
      usages: ['clientAuth', 'serverAuth'],
    })
    return [leaf, root.certPem]
  }
