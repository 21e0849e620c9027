import { follow } from '#base'
import type { ProxyContext } from './context.ts'

/** How long whoever has come since is served before it is told. */
const lateMs = 1_000

type Leaving = Pick<ProxyContext, 'draining' | 'closing'>

/**
 * Calls `tell` when a client is to be told that we leave: at once if it was there before. One that has come since would
 * only come again, as long as its node has not heard: it is told when nobody comes any more.
 */
export function followLeaving({ draining, closing }: Leaving, tell: () => void): Disposable {
  if (!draining.aborted) return follow(draining, tell)
  return closing.aborted ? tellLater(tell) : follow(closing, tell)
}

/** Tells a client that has come since. */
export function tellLater(tell: () => void): Disposable {
  const timer = setTimeout(tell, lateMs).unref()
  return { [Symbol.dispose]: () => clearTimeout(timer) }
}
