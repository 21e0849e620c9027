import type { Fields, Logger } from '#telemetry'
import { Allowances } from './auth/index.ts'

/** An operator needs to see that one address is refused, and why, but not every time. */
const linesOfPeer = { burst: 20, perSecond: 1 }

/** The same logger, but no peer fills the log by what it sends: what is over goes to debug, and the next line counts it. */
export function quietAboutPeers(log: Logger, now = () => performance.now()): Logger {
  const lines = new Allowances({ ...linesOfPeer, now })
  let hidden = 0
  const paced =
    (level: 'warn' | 'info') =>
    (message: string, fields: Fields = {}) => {
      const { peer } = fields
      if (typeof peer !== 'string') return log[level](message, fields)
      if (!lines.take(peer.replace(/:\d+$/, ''))) {
        hidden++
        return log.debug(message, fields)
      }
      log[level](message, hidden > 0 ? { ...fields, hidden } : fields)
      hidden = 0
    }
  return { ...log, warn: paced('warn'), info: paced('info') }
}
