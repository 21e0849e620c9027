/** Who is told when a signal fires. */
export type Follower = { ended(reason: unknown): void }

/** Who follows a signal: one listener on it, however many follow. Kept with the signal and gone with it. */
const followers = new WeakMap<AbortSignal, Set<Follower>>()

/**
 * Tells `follower` when `signal` fires, at once if it has, after those that came before. An AbortSignal finds its
 * listeners by walking a list, which for the signal of a pod would make each connection cost as much as all open ones.
 */
export function addFollower(signal: AbortSignal, follower: Follower): void {
  if (signal.aborted) return follower.ended(signal.reason)
  const set = followers.get(signal) ?? listen(signal)
  set.add(follower)
}

/** The follower is not told any more. */
export const dropFollower = (signal: AbortSignal, follower: Follower): void =>
  void followers.get(signal)?.delete(follower)

function listen(signal: AbortSignal): Set<Follower> {
  const set = new Set<Follower>()
  followers.set(signal, set)
  const tell = () => set.forEach((follower) => follower.ended(signal.reason))
  signal.addEventListener('abort', tell, { once: true })
  return set
}

/** Runs `ended` when `signal` fires, at once if it has; disposing ends that. */
export function follow(signal: AbortSignal, ended: (reason: unknown) => void): Disposable {
  const follower = { ended }
  addFollower(signal, follower)
  return { [Symbol.dispose]: () => dropFollower(signal, follower) }
}

/** A signal of one's own that also fires with `parent`, until it is disposed. */
export function lifetime(parent: AbortSignal): Disposable & { readonly signal: AbortSignal } {
  const abort = new AbortController()
  const following = follow(parent, (reason) => abort.abort(reason))
  return { signal: abort.signal, [Symbol.dispose]: () => following[Symbol.dispose]() }
}
