import { sleep } from '#base'
import type { KubeClient } from '#kube'

/** Short against the grace of a node: no interruption that matters goes unseen. */
const intervalMs = 5_000

/** Since when the API server has answered without a gap. While it does not, nobody's silence means anything. */
type Reachability = Readonly<{ since: () => Date }> & AsyncDisposable

/** Asks the API server every few seconds whether it is there. */
export function watchReachability(client: KubeClient, now: () => Date, parent: AbortSignal): Reachability {
  const closing = new AbortController()
  const signal = AbortSignal.any([parent, closing.signal])
  let since = now()
  const run = async () => {
    for (;;) {
      await sleep(intervalMs, signal)
      try {
        await client.request('GET', '/version', undefined, { signal })
      } catch {
        since = now()
      }
    }
  }
  const ended = run().catch(() => undefined) // by the signal, its only way out
  return {
    since: () => since,
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      await ended
    },
  }
}
