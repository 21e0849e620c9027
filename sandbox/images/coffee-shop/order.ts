import { counted, rate, repeatedly, serve } from './shop.ts'

/** Travels in every payment, so that whoever can read the wire can find it. */
const marker = process.env['MARKER'] ?? 'credit-card-4111-1111-1111-1111'
const inventory = process.env['INVENTORY'] ?? 'inventory:8080'
const payment = process.env['PAYMENT'] ?? 'payment:8080'

serve((path) => (path === '/' ? { service: 'order' } : undefined))
repeatedly(rate('ORDERS_PER_SECOND', 20), async (family) => {
  await counted({ to: inventory, path: '/stock/espresso', headers: { 'x-customer': marker } }, family)
  await counted({ to: payment, path: '/pay', body: JSON.stringify({ card: marker, cents: 280 }) }, family)
})
