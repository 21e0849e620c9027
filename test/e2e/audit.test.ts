import t from 'tap'
import { setTimeout as delay } from 'node:timers/promises'
import {
  apply,
  eventually,
  isCaptured,
  logs,
  nameOf,
  namespace,
  pods,
  skip,
  twoNodes,
} from './kit/cluster.ts'
import { during, flowing, openShop } from './kit/shop.ts'

t.test(
  'an AUDIT policy is told in the log of ztunnel, and refuses nobody',
  { skip, timeout: 380_000 },
  async (t) => {
    const nodes = await twoNodes()
    const ns = await namespace(t, 'audit', { 'istio.io/dataplane-mode': 'ambient' })
    const { order } = await openShop(ns, nodes)
    await eventually('every pod is captured', async () => (await pods(ns, '')).every(isCaptured))
    await flowing(order, 'payment')
    await apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: watched, namespace: ${ns} }
spec:
  selector: { matchLabels: { app: payment } }
  action: AUDIT
  rules: [{ from: [{ source: { serviceAccounts: [order] } }] }]
`)
    const told = async () => {
      const ztunnels = await pods('istio-system', 'app=ztunnel')
      const lines = await Promise.all(ztunnels.map((one) => logs('istio-system', nameOf(one), 500)))
      return lines.flat().filter((line) => line.includes(`${ns}/watched`))
    }
    const seen = await during(order, 'payment', async () => {
      await eventually('a line about it', async () => (await told()).length > 0)
      await delay(500)
    })
    t.ok(seen.requests > 0)
    t.equal(seen.failed, 0, 'everything went through')
    const [line = ''] = await told()
    t.match(line, /audit/)
    t.match(line, /allow/)
  },
)
