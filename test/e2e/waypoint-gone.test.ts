import t from 'tap'
import {
  apply,
  eventually,
  exec,
  isCaptured,
  label,
  logs,
  meshPod,
  nameOf,
  namespace,
  pods,
  read,
  readyPods,
  remove,
  skip,
} from './kit/cluster.ts'
import { origin } from './kit/load.ts'

t.setTimeout(300_000)

const gateway = (ns: string, failOpen?: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: waypoint
  namespace: ${ns}
  labels: { istio.io/waypoint-for: service }
  annotations: ${failOpen === undefined ? '{}' : `{ lateen.dev/waypoint-fail-open: "${failOpen}" }`}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
`

const scaled = (ns: string, replicas: number) => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: waypoint, namespace: ${ns} }
spec: { replicas: ${replicas} }
`

/** Refuses nobody who is there; but only a waypoint could tell. */
const policy = (ns: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: origin, namespace: ${ns} }
spec:
  targetRefs: [{ group: "", kind: Service, name: origin }]
  action: DENY
  rules: [{ from: [{ source: { serviceAccounts: [nobody] } }] }]
`

/** Beside the label that names the waypoint. */
const said = (ns: string, failOpen: string) => `
apiVersion: v1
kind: Namespace
metadata: { name: ${ns}, annotations: { lateen.dev/waypoint-fail-open: "${failOpen}" } }
`

type Conditions = { status?: { conditions?: { type: string; message: string }[] } }

t.test('a waypoint that is gone', { skip, timeout: 280_000 }, async (t) => {
  const ns = await namespace(t, 'gone', { 'istio.io/dataplane-mode': 'ambient' })
  await apply(origin(ns))
  const [pod] = await readyPods(ns, 'app=origin', 2)
  await eventually('every pod is captured', async () => (await pods(ns, '')).every(isCaptured))
  const client = pod ? nameOf(pod) : ''
  const ztunnel = nameOf(await meshPod('app=ztunnel', pod?.spec?.nodeName ?? ''))

  const script = `fetch('http://origin:8080/x').then((r) => console.log(r.status, r.headers.get('server')), () => console.log('refused'))`
  const ask = async () => (await exec(ns, client, ['node', '-e', script])).stdout.trim()
  const becomes = (what: string, wanted: string) =>
    eventually(`${what}: ${wanted}`, async () => (await ask()) === wanted)
  const counted = async (outcome: string) => {
    const metrics = `fetch('http://127.0.0.1:15020/stats/prometheus').then(async (r) => console.log(await r.text()))`
    const { stdout } = await exec('istio-system', ztunnel, ['node', '-e', metrics])
    const name = `lateen_waypoint_unavailable_total{outcome="${outcome}"} `
    return Number(
      stdout
        .split('\n')
        .find((line) => line.startsWith(name))
        ?.slice(name.length) ?? 0,
    )
  }

  await apply(gateway(ns))
  await label(ns, { 'istio.io/use-waypoint': 'waypoint' })
  await readyPods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint', 1)
  await becomes('through it', '200 istio-envoy')

  await apply(scaled(ns, 0))
  await becomes('nobody is there', 'refused')
  const refused = await counted('refused')
  t.ok(refused > 0, 'it is counted')
  t.ok(
    (await logs('istio-system', ztunnel)).some((line) => line.includes('waypoint-unavailable')),
    'and its reason is in the log',
  )
  t.equal(await counted('passed'), 0, 'nothing goes past it')

  await apply(gateway(ns, 'true'))
  await becomes('its owner wants traffic all the same', '200 null')
  t.ok((await counted('passed')) > 0, 'and that is counted, too')
  t.ok(
    (await logs('istio-system', ztunnel)).some((line) => line.includes('past-waypoint')),
    'and told',
  )

  await apply(policy(ns))
  await becomes('but not past a policy', 'refused')
  await remove(policy(ns))
  await becomes('which is gone', '200 null')
  await apply(gateway(ns))
  await becomes('its owner has thought better of it', 'refused')
  await apply(scaled(ns, 1))
  await becomes('it is back', '200 istio-envoy')

  await apply(policy(ns))
  await remove(gateway(ns))
  await eventually('the Service says that it is refused', async () => {
    const { status } = (await read('v1', 'Service', ns, 'origin')) as Conditions
    const bound = status?.conditions?.find(({ type }) => type === 'istio.io/WaypointBound')
    return bound?.message.includes('connections are refused, for AuthorizationPolicy')
  })
  await becomes('deleted, with a policy', 'refused')
  await apply(said(ns, 'always'))
  await becomes('as Istio has it', '200 null')
  await remove(policy(ns))
  await apply(said(ns, 'false'))
  await becomes('without a policy traffic is at L4', '200 null')
})
