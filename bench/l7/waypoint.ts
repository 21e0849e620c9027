import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ip } from '#base'
import { freePort, listening, start, stop } from '../process.ts'
import type { Way } from './client.ts'
import { startControl } from './control.ts'
import { meshOf, vips } from './mesh.ts'
import { idOf, ownAddress, proxyCore, type World } from './world.ts'

const main = new URL('../../waypoint/main.ts', import.meta.url).pathname
/** As in the image: what is compiled is kept between starts. */
const compileCache = new URL('../../.build/compile-cache', import.meta.url).pathname

/** A waypoint as its Deployment starts it. */
type Waypoint = AsyncDisposable &
  Readonly<{
    pid: number
    /** Connections to a port of a service through it. */
    way(service: keyof typeof vips, port?: number): Way
  }>

type WaypointOptions = Readonly<{
  /** Workloads that are there beside the application. */
  bystanders?: number
  /** Without it: none but the one that takes everything. */
  manyRoutes?: boolean
  /** For `node`. */
  flags?: readonly string[]
}>

export async function startWaypoint(world: World, o: WaypointOptions = {}): Promise<Waypoint> {
  await using stack = new AsyncDisposableStack()
  const address = ownAddress()
  const { bystanders = 0, manyRoutes = false } = o
  const mesh = meshOf({ waypoint: address, app: world.app.address, bystanders, manyRoutes })
  const control = stack.use(await startControl(world.ca, mesh, idOf('waypoint')))
  const folder = mkdtempSync(join(world.folder, 'waypoint-'))
  writeFileSync(join(folder, 'root.pem'), world.ca.rootPem)
  writeFileSync(join(folder, 'token'), 'token')
  const [hbone, stats, admin, readiness] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ]
  const child = start([process.execPath, '--disable-sigusr1', ...(o.flags ?? []), main], {
    core: proxyCore,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: compileCache,
      POD_NAME: 'waypoint',
      POD_NAMESPACE: 'demo',
      SERVICE_ACCOUNT: 'waypoint',
      INSTANCE_IP: address,
      ISTIO_META_NODE_NAME: 'n1',
      ISTIO_META_WORKLOAD_NAME: 'waypoint',
      CA_ADDR: `localhost:${control.port}`,
      ROOT_CA: join(folder, 'root.pem'),
      AUTH_TOKEN: join(folder, 'token'),
      TERMINATION_LINGER: '0ms',
      // The peers write a line per request, too.
      ACCESS_LOG_FORMAT: 'text',
      HBONE_PORT: `${hbone}`,
      STATS_PORT: `${stats}`,
      ADMIN_PORT: `${admin}`,
      READINESS_PORT: `${readiness}`,
      ENVOY_PROMETHEUS_PORT: '0',
    },
  })
  stack.defer(() => stop(child))
  await Promise.all([control.settled(), listening(hbone)])
  const owned = stack.move()
  const pid = child.pid ?? 0
  return {
    pid,
    way: (service, port = 80) => ({
      name: 'lateen',
      pid,
      open: () =>
        world.client.open(
          { address: ip('127.0.0.1'), port: hbone },
          idOf('waypoint'),
          `${vips[service]}:${port}`,
        ),
    }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
