import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import {
  apply,
  eventually,
  isCaptured,
  logs,
  nameOf,
  namespace,
  pods,
  read,
  readyPods,
  skip,
  twoNodes,
} from './kit/cluster.ts'
import { app, during, flowing, openShop } from './kit/shop.ts'

t.setTimeout(300_000)

type Conditioned = {
  status?: { conditions?: { type: string; status: string; reason?: string; message?: string }[] }
}

t.test(
  'bad objects are answered with a reason and harm nobody else',
  { skip, timeout: 380_000 },
  async (t) => {
    const nodes = await twoNodes()
    const ns = await namespace(t, 'bad-input', { 'istio.io/dataplane-mode': 'ambient' })
    const { order } = await openShop(ns, nodes)
    await eventually('every pod is captured', async () => (await pods(ns, '')).every(isCaptured))
    await flowing(order, 'payment')

    await t.test('what the webhook cannot be asked about is refused, once it is known to work', async () => {
      for (const name of ['istio-validator-istio-system', 'istiod-default-validator'])
        await eventually(`${name} fails closed`, async () => {
          const found = await read(
            'admissionregistration.k8s.io/v1',
            'ValidatingWebhookConfiguration',
            '',
            name,
          )
          const { webhooks } = found as { webhooks?: { failurePolicy?: string }[] }
          return webhooks?.every(({ failurePolicy }) => failurePolicy === 'Fail')
        })
    })

    await t.test('a policy with an address that is none: refused when it is written, and why', async (t) => {
      const policy = (block: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: garbage, namespace: ${ns} }
spec:
  selector: { matchLabels: { app: somebody-else } }
  action: ALLOW
  rules: [{ from: [{ source: { ipBlocks: [${block}] } }] }]
`
      await t.rejects(apply(policy('not-an-address')), {
        code: 422,
        message:
          /denied the request: .*spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks: .*not-an-address.*10\.0\.0\.0\/8/,
      })
      await t.rejects(read('security.istio.io/v1', 'AuthorizationPolicy', ns, 'garbage'), { code: 404 })
      await apply(policy('10.0.0.0/8'))
    })

    await t.test(
      'a policy with L7 rules: refused at L4 rather than ignored, and said in status',
      async (t) => {
        await apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: layer-seven, namespace: ${ns} }
spec:
  selector: { matchLabels: { app: inventory } }
  action: ALLOW
  rules: [{ to: [{ operation: { methods: [GET], paths: ["/stock/*"] } }] }]
`)
        const condition = await eventually('a condition', async () => {
          const { status } = (await read(
            'security.istio.io/v1',
            'AuthorizationPolicy',
            ns,
            'layer-seven',
          )) as Conditioned
          return status?.conditions?.find(({ type }) => type === 'ZtunnelAccepted')
        })
        t.match(condition.message, /methods|paths|L7|waypoint/i)
        await eventually('the inventory refuses', async () => {
          const seen = await during(order, 'inventory', () => delay(1200))
          return seen.requests > 0 && seen.failed === seen.requests
        })
        const seen = await during(order, 'payment', () => delay(1000))
        t.equal(seen.failed, 0, 'the payment service does not notice')
      },
    )

    await t.test('a Gateway that nobody can serve yet gets a condition', async (t) => {
      await apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: ${ns} }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
`)
      const condition = await eventually('a condition', async () => {
        const { status } = (await read(
          'gateway.networking.k8s.io/v1',
          'Gateway',
          ns,
          'waypoint',
        )) as Conditioned
        return status?.conditions?.find(
          ({ type, status: value }) => type === 'Programmed' && value === 'False',
        )
      })
      t.ok((condition.message ?? '').length > 10, condition.message ?? '')
    })

    await t.test(
      'a pod with an annotation that cannot be read is captured, and the agent says why',
      async (t) => {
        const name = 'payment'
        const other = await namespace(t, 'annotation', { 'istio.io/dataplane-mode': 'ambient' })
        await apply(
          app(other, {
            name,
            node: nodes[0],
            annotations: { 'ambient.istio.io/bypass-inbound-capture': 'perhaps' },
          }),
        )
        const [pod] = await readyPods(other, `app=${name}`, 1)
        t.ok(pod && isCaptured(pod))
        const agents = await pods('istio-system', 'k8s-app=istio-cni-node')
        const lines = (
          await Promise.all(agents.map((agent) => logs('istio-system', nameOf(agent), 2000)))
        ).flat()
        t.ok(
          lines.some((line) => line.includes('bypass-inbound-capture') && line.includes('perhaps')),
          'a line with the reason',
        )
      },
    )

    const after = await during(order, 'payment', () => delay(1000))
    t.ok(after.requests > 0)
    t.equal(after.failed, 0, 'traffic went on all the while')
  },
)
