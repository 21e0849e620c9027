import { setTimeout as delay } from 'node:timers/promises'
import type { V1Pod } from '@kubernetes/client-node'
import t from 'tap'
import {
  apply,
  eventually,
  isCaptured,
  label,
  logs,
  meshPod,
  nameOf,
  namespace,
  pods,
  skip,
  twoNodes,
} from './kit/cluster.ts'
import { captureOn } from './kit/node-tools.ts'
import { during, flowing, marker, openShop } from './kit/shop.ts'

const ambient = { 'istio.io/dataplane-mode': 'ambient' }

t.setTimeout(400_000)

/** Payments per second while `task` runs. */
async function rateOf(order: V1Pod, task: () => Promise<unknown>): Promise<number> {
  const started = Date.now()
  const { requests } = await during(order, 'payment', task)
  return requests / ((Date.now() - started) / 1000)
}

t.test('a namespace under load joins and leaves the mesh live', { skip, timeout: 380_000 }, async (t) => {
  const nodes = await twoNodes()
  const ns = await namespace(t, 'enrolment')
  // Two requests per order: 260 requests a second, if the machine is fast enough.
  const { order } = await openShop(ns, nodes, 130)

  const before = await captureOn(nodes[0], 2, marker)
  t.ok(before.withMarker > 0, 'before: the marker is on the wire')
  t.ok(before.withMarkerOverIpv6 > 0, 'before: also over IPv6')

  const plain = await rateOf(order, () => delay(4_000))
  const started = Date.now()
  const [toPayment, toInventory] = await Promise.all(
    ['payment', 'inventory'].map((to) =>
      during(order, to, async () => {
        if (to === 'payment') await label(ns, ambient)
        await eventually('every pod is captured', async () => (await pods(ns, '')).every(isCaptured))
        await delay(6_000)
      }),
    ),
  )
  const perSecond = (toPayment?.requests ?? 0) / ((Date.now() - started) / 1000)
  const rates = `${Math.round(perSecond)} payments a second, ${Math.round(plain)} before`
  t.ok(perSecond > plain / 3, `it was under load: ${rates}`)
  t.match([toPayment?.failed, toInventory?.failed], [0, 0], 'no request failed during the enrolment')

  const during6 = await during(order, 'payment', async () => {
    const after = await captureOn(nodes[0], 4, marker)
    t.equal(after.withMarker, 0, 'after: no frame shows the marker')
    t.equal(after.withHttp, 0, 'after: no frame shows HTTP')
    t.ok(after.hbone > 0, 'after: TLS on 15008')
    t.ok(after.hboneOverIpv6 > 0, 'after: also over IPv6')
  })
  t.equal(during6.failed, 0)
  t.ok(during6.answeredOverIpv6 > 0, 'IPv6 requests are answered through the mesh')

  await t.test('the access log tells who talked to whom', async (t) => {
    const lines = await logs('istio-system', nameOf(await meshPod('app=ztunnel', nodes[1])), 2000)
    const between = (text: string) =>
      text.includes(`ns/${ns}/sa/order`) && text.includes(`ns/${ns}/sa/payment`)
    const line = lines.find((text) => /direction="?inbound/.test(text) && between(text))
    t.match(line, new RegExp(`src\\.identity="?spiffe://cluster\\.local/ns/${ns}/sa/order`))
    t.match(line, new RegExp(`dst\\.identity="?spiffe://cluster\\.local/ns/${ns}/sa/payment`))
    t.match(line, /direction="?inbound/)
    t.match(line, /bytes_sent=[1-9]\d* bytes_recv=[1-9]\d* duration="?\d+ms/)
  })

  await t.test('a pod that is made in an enrolled namespace is captured before it starts', async (t) => {
    await apply(`
apiVersion: v1
kind: Pod
metadata: { name: late, namespace: ${ns}, labels: { app: late } }
spec:
  nodeSelector: { kubernetes.io/hostname: ${nodes[0]} }
  terminationGracePeriodSeconds: 0
  containers:
    - name: late
      image: lateen:dev
      command:
        - node
        - -e
        - |
          fetch('http://payment:8080/pay', { method: 'POST', body: '${marker}' }).then(async (r) => console.log(r.status, await r.text()), (e) => console.log(String(e.cause ?? e)))
          setInterval(() => {}, 1000)
`)
    const { withMarker } = await captureOn(nodes[0], 5, marker)
    const [line] = await eventually('the first request of the pod is answered', async () => {
      const lines = await logs(ns, 'late')
      return lines.length > 0 && lines
    })
    t.match(line, /^200 .*paid/)
    t.equal(withMarker, 0, 'not even its first request was readable')
  })

  await t.test('without the label the namespace leaves the mesh', async (t) => {
    await label(ns, { 'istio.io/dataplane-mode': null })
    await eventually('no pod is captured', async () => !(await pods(ns, '')).some(isCaptured))
    await flowing(order, 'payment')
    const released = await captureOn(nodes[0], 2, marker)
    t.ok(released.withMarker > 0, 'the marker is on the wire again')
  })
})
