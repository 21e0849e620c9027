/** Who follows a signal: one listener on it, however many follow. Kept with the signal and gone with it. */
const followers = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Runs `aborted` when `signal` fires, at once if it has, after those that came before; disposing ends that. An AbortSignal finds its listeners by
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

/** A signal of one's own that also fires with `parent`, until it is disposed. */
export function lifetime(parent: AbortSignal): Disposable & { readonly signal: AbortSignal } {
  const abort = new AbortController()
  const following = follow(parent, () => abort.abort(parent.reason))
  return { signal: abort.signal, [Symbol.dispose]: () => following[Symbol.dispose]() }
}

const nothing: Disposable = { [Symbol.dispose]: () => undefined }

function listen(signal: AbortSignal): Set<() => void> {
  const set = new Set<() => void>()
  followers.set(signal, set)
  signal.addEventListener('abort', () => set.forEach((aborted) => aborted()), { once: true })
  return set
}
