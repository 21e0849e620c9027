import { setTimeout as delay } from 'node:timers/promises'
import { serve } from './shop.ts'

/** The printer of receipts is slow. */
const printMs = 1_500

serve((path, body) => {
  if (path === '/pay') return { service: 'payment', paid: true, echo: body }
  if (path === '/receipt') return delay(printMs, { service: 'payment', receipt: 'one espresso' })
  return path === '/price' ? { service: 'payment', cents: 280 } : undefined
})
