import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import {
  apply,
  eventually,
  exec,
  isCaptured,
  logs,
  meshPod,
  nameOf,
  namespace,
  pods,
  read,
  remove,
  skip,
  twoNodes,
} from './kit/cluster.ts'
import { during, flowing, openShop } from './kit/shop.ts'

const policy = (ns: string, name: string, spec: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: ${ns} }
spec: ${spec}
`

const conditions = async (ns: string, name: string) => {
  const { status } = (await read('security.istio.io/v1', 'AuthorizationPolicy', ns, name)) as {
    status?: { conditions?: { type: string; status: string; reason?: string; message?: string }[] }
  }
  return status?.conditions ?? []
}

t.setTimeout(400_000)

t.test('policies decide who may talk to whom', { skip, timeout: 380_000 }, async (t) => {
  const nodes = await twoNodes()
  const ns = await namespace(t, 'policy', { 'istio.io/dataplane-mode': 'ambient' })
  const { order, inventory, payment } = await openShop(ns, nodes)
  await eventually('every pod is captured', async () => (await pods(ns, '')).every(isCaptured))
  await flowing(inventory, 'payment')

  // A connection of the inventory that is open before the policy comes: it must not outlive its right to exist.
  const open = Promise.withResolvers<string>()
  const script = `
    const s = require('net').connect(8080, 'payment', () => { console.log('open'); s.write('GET /') })
    s.on('error', () => {}); s.on('close', () => { console.log('closed'); process.exit(0) })
    setTimeout(() => { console.log('still open'); process.exit(1) }, 120_000)`
  const held = exec(ns, nameOf(inventory), ['node', '-e', script], open.resolve)
  t.match(await Promise.race([open.promise, held.then(({ stderr }) => stderr)]), /^open/)

  const onlyOrder = policy(
    ns,
    'only-order-pays',
    `{ selector: { matchLabels: { app: payment } }, action: ALLOW, rules: [{ from: [{ source: { principals: [cluster.local/ns/${ns}/sa/order] } }] }] }`,
  )
  await apply(onlyOrder)
  await eventually('the inventory is refused', async () => {
    const seen = await during(inventory, 'payment', () => delay(1200))
    return seen.requests > 0 && seen.failed === seen.requests
  })

  await t.test(
    'what the policy allows goes on, what it does not is refused and the log names it',
    async (t) => {
      const allowed = await during(order, 'payment', () => delay(3000))
      t.ok(allowed.requests > 0)
      t.equal(allowed.failed, 0)
      const lines = await logs('istio-system', nameOf(await meshPod('app=ztunnel', nodes[1])), 2000)
      const refused = lines.find(
        (line) =>
          line.includes('policy rejection') &&
          line.includes(`${ns}/only-order-pays`) &&
          line.includes(`sa/inventory`),
      )
      t.match(refused, /\terror\taccess\t/)
      t.match(refused, /direction="?inbound/)
      t.ok(
        lines.some(
          (line) => line.includes('closed due to policy change') && line.includes(`${ns}/only-order-pays`),
        ),
        'the closed connection names the policy too',
      )
      t.match(await conditions(ns, 'only-order-pays'), [{ type: 'ZtunnelAccepted', status: 'True' }])
    },
  )

  await t.test('a connection that the new policy forbids was closed', async (t) => {
    const { stdout } = await held
    t.equal(stdout.trim(), 'open\nclosed')
  })

  await t.test('a pod outside the mesh is refused as well', async (t) => {
    const outside = await namespace(t, 'outside')
    await apply(`
apiVersion: v1
kind: Pod
metadata: { name: stranger, namespace: ${outside} }
spec:
  terminationGracePeriodSeconds: 0
  containers: [{ name: stranger, image: 'lateen:dev', command: [sleep, infinity] }]
`)
    await eventually('the stranger runs', async () => {
      const [pod] = await pods(outside, '')
      return pod?.status?.phase === 'Running'
    })
    const script = `fetch('http://${payment.status?.podIP}:8080/price').then((r) => console.log(r.status), () => console.log('refused'))`
    const { stdout } = await exec(outside, 'stranger', ['node', '-e', script])
    t.equal(stdout.trim(), 'refused')
  })

  await remove(onlyOrder)
  await flowing(inventory, 'payment')
  t.pass('without the policy the inventory is served again')

  await t.test('a DENY policy refuses one caller and leaves the other alone', async (t) => {
    const denied = policy(
      ns,
      'no-inventory',
      `{ action: DENY, rules: [{ from: [{ source: { principals: ["*/sa/inventory"] } }] }] }`,
    )
    await apply(denied)
    await eventually('the inventory is refused', async () => {
      const seen = await during(inventory, 'payment', () => delay(1200))
      return seen.requests > 0 && seen.failed === seen.requests
    })
    const seen = await during(order, 'payment', () => delay(1500))
    t.equal(seen.failed, 0)
    t.ok(seen.requests > 0)
    await remove(denied)
    await flowing(inventory, 'payment')
  })
})
