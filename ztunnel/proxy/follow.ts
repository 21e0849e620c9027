/** Who follows a signal: one listener on it, however many follow. Kept with the signal and gone with it. */
const followers = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Runs `aborted` when `signal` fires, at once if it has; disposing ends that. An AbortSignal finds its listeners by
 * walking a list, which for the signal of a pod would make each connection cost as much as all open ones.
 */
export function follow(signal: AbortSignal, aborted: () => void): Disposable {
  if (signal.aborted) {
    aborted()
    return nothing
  }
  const set = followers.get(signal) ?? listen(signal)
  set.add(aborted)
  return { [Symbol.dispose]: () => void set.delete(aborted) }
}

const nothing: Disposable = { [Symbol.dispose]: () => undefined }

function listen(signal: AbortSignal): Set<() => void> {
  const set = new Set<() => void>()
  followers.set(signal, set)
  signal.addEventListener('abort', () => set.forEach((aborted) => aborted()), { once: true })
  return set
}
