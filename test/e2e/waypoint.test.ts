import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import {
  apply,
  eventually,
  exec,
  isCaptured,
  isReady,
  label,
  logs,
  nameOf,
  namespace,
  pods,
  read,
  readyPods,
  remove,
  skip,
  twoNodes,
} from './kit/cluster.ts'
import { during, flowing, openShop } from './kit/shop.ts'

t.setTimeout(400_000)

/** What `istioctl waypoint apply` writes. */
const gateway = (ns: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: ${ns}, labels: { istio.io/waypoint-for: service } }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
`

/** Some paths are redirected by the waypoint itself. */
const moved = (ns: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: payment, namespace: ${ns} }
spec:
  parentRefs: [{ group: "", kind: Service, name: payment, port: 8080 }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /moved } }]
      filters: [{ type: RequestRedirect, requestRedirect: { hostname: elsewhere.example, statusCode: 302 } }]
    - backendRefs: [{ name: payment, port: 8080 }]
`

/** Nobody but the inventory is refused. */
const notInventory = (ns: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: not-inventory, namespace: ${ns} }
spec:
  targetRefs: [{ group: "", kind: Service, name: payment }]
  action: DENY
  rules: [{ from: [{ source: { serviceAccounts: [inventory] } }] }]
`

/** What `kubectl rollout restart` writes. */
const restarted = (ns: string) => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: waypoint, namespace: ${ns} }
spec: { template: { metadata: { annotations: { kubectl.kubernetes.io/restartedAt: now } } } }
`

/** Metric lines of a pod that begin so. */
async function series(ns: string, pod: string, name: string): Promise<readonly string[]> {
  const script = `fetch('http://127.0.0.1:15020/stats/prometheus').then(async (r) => console.log(await r.text()))`
  const { stdout } = await exec(ns, pod, ['node', '-e', script])
  return stdout.split('\n').filter((line) => line.startsWith(`${name}{`))
}

const total = (lines: readonly string[]) =>
  lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)

const isProgrammed = async (ns: string) => {
  const { status } = (await read('gateway.networking.k8s.io/v1', 'Gateway', ns, 'waypoint')) as {
    status?: { conditions?: { type: string; status: string }[] }
  }
  return status?.conditions?.some((one) => one.type === 'Programmed' && one.status === 'True') === true
}

t.test('a waypoint comes and goes while traffic runs', { skip, timeout: 380_000 }, async (t) => {
  const nodes = await twoNodes()
  const ns = await namespace(t, 'waypoint', { 'istio.io/dataplane-mode': 'ambient' })
  const { order, inventory } = await openShop(ns, nodes, 50)
  await eventually('every pod is captured', async () => (await pods(ns, '')).every(isCaptured))
  await flowing(order, 'payment')

  let waypoint = ''
  const coming = await during(order, 'payment', async () => {
    await apply(gateway(ns))
    await eventually('it is programmed', () => isProgrammed(ns), 90_000)
    await label(ns, { 'istio.io/use-waypoint': 'waypoint' })
    const [pod] = await readyPods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint', 1)
    waypoint = pod ? nameOf(pod) : ''
    await eventually(
      'requests come through it',
      async () => total(await series(ns, waypoint, 'istio_requests_total')) > 0,
    )
    await delay(2_000)
  })
  t.ok(coming.requests > 20, `${coming.requests} requests while it came`)
  t.equal(
    coming.failed,
    0,
    coming.failed === 0 ? 'none failed' : `the last: ${coming.lastError ?? 'unknown'}`,
  )

  const before = total(await series(ns, waypoint, 'istio_requests_total'))
  const through = await during(order, 'payment', () => delay(3_000))
  const lines = await series(ns, waypoint, 'istio_requests_total')
  t.ok(total(lines) - before >= through.requests, `${through.requests} requests, and every one was counted`)
  t.ok(
    lines.some(
      (line) =>
        line.includes('reporter="waypoint"') &&
        line.includes('source_workload="order"') &&
        line.includes('destination_workload="payment"') &&
        line.includes(`destination_service="payment.${ns}.svc.cluster.local"`) &&
        line.includes('response_code="200"'),
    ),
    'with who called whom',
  )
  t.match((await logs(ns, waypoint)).at(-1), / via_upstream /, 'and each has a line in the access log')

  await apply(moved(ns))
  const ask = `fetch('http://payment:8080/moved/x', { redirect: 'manual' }).then((r) => console.log(r.status, r.headers.get('location')))`
  await eventually('a route is obeyed', async () => {
    const { stdout } = await exec(ns, nameOf(order), ['node', '-e', ask])
    return stdout.trim() === '302 http://elsewhere.example:8080/moved/x'
  })
  const routed = await during(order, 'payment', () => delay(1_000))
  t.equal(routed.failed, 0, 'and what it is not about goes on')

  await apply(notInventory(ns))
  const pay = `fetch('http://payment:8080/').then(async (r) => console.log(r.status, await r.text()))`
  const asked = await during(order, 'payment', async () => {
    await eventually('the inventory is refused by the waypoint', async () => {
      const { stdout } = await exec(ns, nameOf(inventory), ['node', '-e', pay])
      return stdout.trim() === '403 RBAC: access denied'
    })
    await delay(1_000)
  })
  t.equal(asked.failed, 0, 'and the order is not')
  await eventually('the policy says that a waypoint enforces it', async () => {
    const { status } = (await read('security.istio.io/v1', 'AuthorizationPolicy', ns, 'not-inventory')) as {
      status?: { conditions?: { type: string; status: string }[] }
    }
    return status?.conditions?.some((one) => one.type === 'WaypointAccepted' && one.status === 'True')
  })

  const restarting = await during(order, 'payment', async () => {
    await apply(restarted(ns))
    await eventually(
      'another waypoint has taken over',
      async () => {
        const all = await pods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint')
        return all.length === 1 && all.every((pod) => isReady(pod) && nameOf(pod) !== waypoint)
      },
      120_000,
    )
    await flowing(order, 'payment')
  })
  t.ok(restarting.requests > 20, `${restarting.requests} requests during a restart`)
  t.equal(
    restarting.failed,
    0,
    restarting.failed === 0 ? 'none failed' : `the last: ${restarting.lastError ?? 'unknown'}`,
  )

  // With it connections would be refused from then on, rather than be taken without it.
  await remove(notInventory(ns))
  const leaving = await during(order, 'payment', async () => {
    await remove(gateway(ns))
    await eventually(
      'it has gone',
      async () => (await pods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint')).length === 0,
      120_000,
    )
    await flowing(order, 'payment')
  })
  t.ok(leaving.requests > 20, `${leaving.requests} requests while it left`)
  t.equal(
    leaving.failed,
    0,
    leaving.failed === 0 ? 'none failed' : `the last: ${leaving.lastError ?? 'unknown'}`,
  )
  t.not(
    (await exec(ns, nameOf(order), ['node', '-e', ask])).stdout.trim().slice(0, 3),
    '302',
    'and no route is left',
  )
})
