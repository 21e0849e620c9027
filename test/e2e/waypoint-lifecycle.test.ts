import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import {
  apply,
  core,
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
  restartDaemonSet,
  skip,
  twoNodes,
} from './kit/cluster.ts'
import { origin, startLoad } from './kit/load.ts'

t.setTimeout(400_000)

const perSecond = 500
/** Certificates of the waypoint live so long: they are renewed all the while. */
const certificateTtl = '40s'

const gateway = (ns: string, name = 'waypoint') => `
apiVersion: v1
kind: ConfigMap
metadata: { name: waypoint-options, namespace: ${ns} }
data:
  deployment: |
    spec:
      template:
        spec:
          containers:
            - name: istio-proxy
              env: [{ name: SECRET_TTL, value: ${certificateTtl} }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: ${name}, namespace: ${ns}, labels: { istio.io/waypoint-for: service } }
spec:
  gatewayClassName: istio-waypoint
  infrastructure: { parametersRef: { group: "", kind: ConfigMap, name: waypoint-options } }
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
`

/** What `kubectl scale` and `kubectl rollout restart` write. */
const deployed = (ns: string, replicas: number, restartedAt: string) => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: waypoint, namespace: ${ns} }
spec:
  replicas: ${replicas}
  template: { metadata: { annotations: { kubectl.kubernetes.io/restartedAt: "${restartedAt}" } } }
`

const routed = (ns: string, n: number) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: origin, namespace: ${ns} }
spec:
  parentRefs: [{ group: "", kind: Service, name: origin, port: 8080 }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /moved-${n} } }]
      filters: [{ type: RequestRedirect, requestRedirect: { hostname: elsewhere.example, statusCode: 302 } }]
    - backendRefs: [{ name: origin, port: 8080 }]
`

const refusing = (ns: string, account: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: origin, namespace: ${ns} }
spec:
  targetRefs: [{ group: "", kind: Service, name: origin }]
  action: DENY
  rules: [{ from: [{ source: { serviceAccounts: [${account}] } }] }]
`

const programmed = (ns: string, name: string) =>
  eventually(`${name} is programmed`, async () => {
    const { status } = (await read('gateway.networking.k8s.io/v1', 'Gateway', ns, name)) as {
      status?: { conditions?: { type: string; status: string }[] }
    }
    return status?.conditions?.some((one) => one.type === 'Programmed' && one.status === 'True')
  })

const waypointPods = 'gateway.networking.k8s.io/gateway-name=waypoint'

/** Waits until exactly these many are ready, and none of those that were there before. */
const replaced = (ns: string, selector: string, count: number, before: readonly string[]) =>
  eventually(
    `${count} others of ${selector}`,
    async () => {
      const all = await pods(ns, selector)
      return all.length === count && all.every((pod) => isReady(pod) && !before.includes(nameOf(pod)))
    },
    150_000,
  )

const namesOf = async (ns: string, selector: string) => (await pods(ns, selector)).map(nameOf)

t.test('nothing is lost while a waypoint lives, changes and goes', { skip, timeout: 390_000 }, async (t) => {
  const nodes = await twoNodes()
  const ns = await namespace(t, 'lifecycle', { 'istio.io/dataplane-mode': 'ambient' })
  await apply(origin(ns))
  await readyPods(ns, 'app=origin', 2)
  const before = await startLoad(t, { namespace: ns, name: 'before', node: nodes[0], perSecond })
  await eventually('every pod is captured', async () => (await pods(ns, '')).every(isCaptured))

  await before.phase(t, 'as it is', () => delay(2_000))
  await before.phase(t, 'a waypoint comes', async () => {
    await apply(gateway(ns))
    await programmed(ns, 'waypoint')
    await label(ns, { 'istio.io/use-waypoint': 'waypoint' })
    await readyPods(ns, waypointPods, 1)
    await delay(3_000)
  })
  await before.stop()

  // Connections that were open stay at L4; from here on all lead through the waypoint.
  const load = await startLoad(t, { namespace: ns, name: 'load', node: nodes[0], perSecond })
  await load.phase(t, 'it is there', () => delay(2_000))
  const [only = ''] = await namesOf(ns, waypointPods)
  t.ok(
    (await logs(ns, only)).filter((line) => line.includes(' 200 - via_upstream ')).length > 100,
    'all that through it',
  )
  await load.phase(t, 'it is replaced', async () => {
    await apply(deployed(ns, 1, 'once'))
    await replaced(ns, waypointPods, 1, [only])
    await delay(5_000)
  })
  await load.phase(t, 'there are three of it, and one again', async () => {
    await apply(deployed(ns, 3, 'once'))
    await readyPods(ns, waypointPods, 3)
    await delay(3_000)
    await apply(deployed(ns, 1, 'once'))
    await replaced(ns, waypointPods, 1, [])
    await delay(5_000)
  })
  await load.phase(t, 'its routes change, again and again', async () => {
    for (let n = 1; n <= 20; n++) {
      await apply(routed(ns, n))
      await delay(100)
    }
    const ask = `fetch('http://origin:8080/moved-20', { redirect: 'manual' }).then((r) => console.log(r.status))`
    await eventually('the last one is obeyed', async () => {
      const { stdout } = await exec(ns, load.pod, ['node', '-e', ask])
      return stdout.trim() === '302'
    })
  })
  await load.phase(t, 'who may call changes', async () => {
    for (const account of ['nobody', 'somebody', 'nobody']) {
      await apply(refusing(ns, account))
      await delay(500)
    }
    await remove(refusing(ns, 'nobody'))
    await delay(1_000)
  })
  await load.phase(t, 'the app is replaced', async () => {
    const before = await namesOf(ns, 'app=origin')
    await apply(origin(ns, 'v2'))
    await replaced(ns, 'app=origin', 2, before)
    await delay(8_000)
  })
  await load.phase(t, 'ztunnel is replaced on every node', async () => {
    const old = await namesOf('istio-system', 'app=ztunnel')
    await restartDaemonSet('istio-system', 'ztunnel')
    await eventually(
      'the old ones have gone',
      async () => {
        const { items } = await core.listNamespacedPod({
          namespace: 'istio-system',
          labelSelector: 'app=ztunnel',
        })
        return items.every((pod) => isReady(pod) && !old.includes(nameOf(pod)))
      },
      120_000,
    )
    await delay(3_000)
  })
  await load.phase(t, 'another one takes its place, and gives it back', async () => {
    await apply(gateway(ns, 'another'))
    await programmed(ns, 'another')
    for (const name of ['another', 'waypoint']) {
      await label(ns, { 'istio.io/use-waypoint': name })
      await delay(1_500)
    }
  })
  await load.phase(t, 'the waypoint goes', async () => {
    await remove(gateway(ns))
    await eventually('it has gone', async () => (await pods(ns, waypointPods)).length === 0, 150_000)
    await delay(5_000)
  })
})
