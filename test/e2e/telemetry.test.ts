import t from 'tap'
import {
  apply,
  eventually,
  label,
  logs,
  nameOf,
  namespace,
  read,
  readyPods,
  skip,
  twoNodes,
} from './kit/cluster.ts'
import { during, flowing, openShop } from './kit/shop.ts'
import { isProgrammed, waypointYaml } from './kit/stage.ts'
import { setTimeout as delay } from 'node:timers/promises'

t.setTimeout(300_000)

const telemetry = (ns: string, spec: string) => `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: logs, namespace: ${ns} }
spec: { accessLogging: [ ${spec} ] }
`

type Told = { status?: { conditions?: { type: string; status: string; reason: string; message: string }[] } }
const conditionOf = async (ns: string) => {
  const { status } = (await read('telemetry.istio.io/v1', 'Telemetry', ns, 'logs')) as Told
  return status?.conditions?.find(({ type }) => type === 'lateen.dev/Accepted')
}

t.test('what a waypoint logs is what a Telemetry says', { skip, timeout: 280_000 }, async (t) => {
  const nodes = await twoNodes()
  const ns = await namespace(t, 'telemetry', { 'istio.io/dataplane-mode': 'ambient' })
  const { order } = await openShop(ns, nodes, 50)
  await apply(waypointYaml(ns))
  await eventually('the waypoint is programmed', () => isProgrammed(ns), 90_000)
  await label(ns, { 'istio.io/use-waypoint': 'waypoint' })
  const [pod] = await readyPods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint', 1)
  const waypoint = pod ? nameOf(pod) : ''
  await flowing(order, 'payment')
  const lines = async () => (await logs(ns, waypoint)).filter((line) => line.includes(' via_upstream '))
  await eventually('requests are logged as the mesh’s settings say', async () => (await lines()).length > 0)

  await apply(
    telemetry(ns, '{ providers: [{ name: envoy }], filter: { expression: "response.code >= 500" } }'),
  )
  await eventually('its owner is told', async () => (await conditionOf(ns))?.status === 'True')
  /** Lines of requests that are made now. */
  const more = async () => {
    const before = (await lines()).length
    await during(order, 'payment', () => delay(1_000))
    return (await lines()).length - before
  }
  await eventually(
    'what the expression does not want is not logged',
    async () => (await more()) === 0,
    60_000,
  )

  await apply(
    telemetry(ns, '{ providers: [{ name: envoy }], filter: { expression: "response.nothing == 1" } }'),
  )
  await eventually(
    'what cannot be read is refused',
    async () => (await conditionOf(ns))?.reason === 'Invalid',
  )
  t.match((await conditionOf(ns))?.message, /response\.nothing is no attribute/)
  t.equal(await more(), 0, 'and what was said before still counts')

  await apply(telemetry(ns, '{ providers: [{ name: envoy }] }'))
  await eventually('everything is logged again', async () => (await more()) > 0, 60_000)
})
