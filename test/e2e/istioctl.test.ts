/** What `istioctl waypoint` does to a cluster: the same objects, written the same way. */
import t from 'tap'
import { echoOf } from './kit/answer.ts'
import { apply, core, eventually, pods, read, remove, skip } from './kit/cluster.ts'
import { isProgrammed, openStage, type Stage, waypointYaml } from './kit/stage.ts'

t.setTimeout(300_000)

type Condition = Readonly<{ type: string; status: string; reason: string; message: string }>

async function conditionOf(apiVersion: string, kind: string, ns: string, name: string, type: string) {
  const { status } = (await read(apiVersion, kind, ns, name)) as { status?: { conditions?: Condition[] } }
  return status?.conditions?.find((one) => one.type === type)
}

/** Whether a request goes through a waypoint, which tells the app how often it has tried. */
async function isThroughWaypoint({ callers, ns }: Stage, from: 'client' | 'consumer'): Promise<boolean> {
  const answer = await callers[from]({ kind: 'http', url: `http://echo.${ns}/` })
  const echo = echoOf(answer)
  if (!echo) throw new Error(`no answer of the app: ${JSON.stringify(answer)}`)
  return echo.headers['x-envoy-attempt-count'] !== undefined
}

/** As istioctl does after it has waited: the namespace is read, changed and written as a whole. */
async function enrol(name: string, waypoint: string): Promise<void> {
  const body = await core.readNamespace({ name })
  if (!body.metadata) throw new Error(`namespace ${name} has no metadata`)
  body.metadata.labels = { ...body.metadata.labels, 'istio.io/use-waypoint': waypoint }
  await core.replaceNamespace({ name, body })
}

t.test(
  'istioctl waypoint apply --enroll-namespace, status and delete',
  { skip, timeout: 290_000 },
  async (t) => {
    const stage = await openStage(t, 'istioctl', false)
    const { ns } = stage
    t.notOk(await isThroughWaypoint(stage, 'client'), 'before it requests go by L4 alone')

    // Server-side apply without force, again and again as with every `apply`.
    await apply(waypointYaml(ns), 'istioctl', false)
    await eventually('it is programmed', () => isProgrammed(ns))
    await apply(waypointYaml(ns), 'istioctl', false)
    t.notOk(await isThroughWaypoint(stage, 'client'), 'a waypoint that nobody uses is in nobody’s way')
    const { status } = (await read('gateway.networking.k8s.io/v1', 'Gateway', ns, 'waypoint')) as {
      status: { addresses: { type: string; value: string }[]; listeners: Record<string, unknown>[] }
    }
    t.match(
      status.addresses.find(({ type }) => type === 'Hostname'),
      { value: `waypoint.${ns}.svc.cluster.local` },
      'it says where it is',
    )
    t.match(status.listeners, [{ name: 'mesh', attachedRoutes: 0, supportedKinds: [] }])

    await enrol(ns, 'waypoint')
    for (const from of ['client', 'consumer'] as const)
      await eventually(`${from} comes through it`, () => isThroughWaypoint(stage, from), 30_000)
    await eventually('the service says so', async () => {
      const bound = await conditionOf('v1', 'Service', ns, 'echo', 'istio.io/WaypointBound')
      return (
        bound?.status === 'True' &&
        bound.reason === 'WaypointAccepted' &&
        bound.message.includes(`${ns}/waypoint`)
      )
    })

    await remove(waypointYaml(ns))
    for (const from of ['client', 'consumer'] as const)
      await eventually(
        `${from} goes by L4 again`,
        async () => !(await isThroughWaypoint(stage, from)),
        60_000,
      )
    await eventually('the service says that there is none', async () => {
      const bound = await conditionOf('v1', 'Service', ns, 'echo', 'istio.io/WaypointBound')
      return bound?.status === 'False'
    })
    await eventually(
      'and nothing of it is left',
      async () => (await pods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint')).length === 0,
    )
  },
)
