import { MeshError, timerMs } from '#base'
import type { ConnectionLimits } from '#routes'

type Limits = Pick<ConnectionLimits, 'tcpIdleTimeoutMs' | 'maxConnectionDurationMs'>

/** How often in its idle time a connection is looked at: it may be idle for an eighth longer than it should. */
const looks = 8

const over = (message: string) => new MeshError('expired', { message })

/** Ends a connection over which nothing has moved for too long, or that is too old. A time of 0 is none. */
export function keepTime(
  { tcpIdleTimeoutMs, maxConnectionDurationMs }: Limits,
  moved: () => number,
  end: (why: MeshError) => void,
): Disposable {
  let last = moved()
  let since = performance.now()
  const look = () => {
    const now = performance.now()
    const all = moved()
    if (all !== last) since = now
    else if (now - since >= tcpIdleTimeoutMs) end(over(`nothing was sent for ${tcpIdleTimeoutMs} ms`))
    last = all
  }
  const looking =
    tcpIdleTimeoutMs > 0 ? setInterval(look, timerMs(tcpIdleTimeoutMs / looks)).unref() : undefined
  const old = () => end(over(`the connection was open for ${maxConnectionDurationMs} ms`))
  const ageing =
    maxConnectionDurationMs > 0 ? setTimeout(old, timerMs(maxConnectionDurationMs)).unref() : undefined
  return {
    [Symbol.dispose]: () => {
      clearInterval(looking)
      clearTimeout(ageing)
    },
  }
}
