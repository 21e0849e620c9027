import { serve } from './shop.ts'

serve((path, body) => {
  if (path === '/pay') return { service: 'payment', paid: true, echo: body }
  return path === '/price' ? { service: 'payment', cents: 280 } : undefined
})
