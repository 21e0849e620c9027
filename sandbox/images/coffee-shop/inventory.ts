import { counted, rate, repeatedly, serve } from './shop.ts'

const version = process.env['VERSION'] ?? 'v1'
const payment = process.env['PAYMENT'] ?? 'payment:8080'

serve((path) =>
  path.startsWith('/stock/') ? { service: 'inventory', version, stock: version === 'v1' ? 7 : 8 } : undefined,
)
// The inventory asks the payment service for prices. A policy of the demo says that it has no business there.
repeatedly(rate('PRICES_PER_SECOND', 5), (family) => counted({ to: payment, path: '/price' }, family))
