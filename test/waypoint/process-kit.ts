import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Test } from 'tap'
import { ip } from '#base'
import { HbonePool } from '#hbone'
import { addressTypeUrl } from '#wire'
import { freePort } from '../fakes/free-port.ts'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { createTestCa } from '../fakes/test-ca.ts'
import { ControlPlane } from '../helpers/control-plane.ts'
import { type ProcessOptions, ZtunnelProcess } from '../helpers/ztunnel-process.ts'
import { idOf, vip, webKey } from './kit.ts'

type Endpoint = Readonly<{ address: string; port: number }>

/** A waypoint of service `web` in a process of its own, and who calls through it. */
type ProcessScene = Readonly<{
  waypoint: ZtunnelProcess
  control: ControlPlane
  /** A connection of `as` to the service; those of one have one pool. */
  open(as?: string): Promise<Duplex>
  /** The first line of the answer to one request on a connection of its own. */
  status(path: string, as?: string): Promise<string>
}>

export async function processScene(
  t: Test,
  endpoint: Endpoint,
  { env, ...options }: Partial<ProcessOptions> = {},
): Promise<ProcessScene> {
  const ca = createTestCa()
  const folder = mkdtempSync(join(tmpdir(), 'lateen-waypoint-process-'))
  const control = await ControlPlane.start(ca)
  const stop = new AbortController()
  control.caller = idOf('waypoint')
  control.push(addressTypeUrl, {
    ...workloadResource({
      name: 'app',
      node: 'n2',
      addresses: [endpoint.address],
      tunnelProtocol: 0,
      services: { [webKey]: { 80: endpoint.port } },
    }),
    ...workloadResource({ name: 'client', node: 'n1', addresses: ['127.0.0.1'] }),
    ...serviceResource({ name: 'web', vips: [vip], ports: { 80: 8080 }, waypoint: '127.0.0.1' }),
  })
  writeFileSync(join(folder, 'root.pem'), ca.rootPem)
  writeFileSync(join(folder, 'token'), 'token')
  const port = await freePort()
  const waypoint = new ZtunnelProcess({
    ...options,
    main: 'waypoint/main.ts',
    env: {
      POD_NAME: 'waypoint',
      POD_NAMESPACE: 'demo',
      SERVICE_ACCOUNT: 'waypoint',
      INSTANCE_IP: '127.0.0.1',
      ISTIO_META_WORKLOAD_NAME: 'waypoint',
      CA_ADDR: `localhost:${control.port}`,
      ROOT_CA: join(folder, 'root.pem'),
      AUTH_TOKEN: join(folder, 'token'),
      HBONE_PORT: `${port}`,
      ENVOY_PROMETHEUS_PORT: '0',
      ACCESS_LOG_FORMAT: 'text',
      ...env,
    },
  })
  t.teardown(async () => {
    stop.abort()
    waypoint.child.kill('SIGKILL')
    await waypoint.exited
    control[Symbol.dispose]()
    rmSync(folder, { recursive: true, force: true })
  })
  await waypoint.ready()
  const pools = new Map<string, HbonePool>()
  const open = async (as = 'client') => {
    const pool = pools.get(as) ?? new HbonePool({ signal: stop.signal })
    pools.set(as, pool)
    const to = { address: ip('127.0.0.1'), port }
    const tunnel = await pool.connect({
      key: { source: idOf(as), expected: [idOf('waypoint')], to, sourceIp: '127.0.0.1' },
      certificate: async () => ca.workload(idOf(as)),
      dial: async () => {
        const socket = connect({ host: to.address, port, allowHalfOpen: true })
        await once(socket, 'connect')
        return socket
      },
      authority: `${vip}:80`,
      headers: {},
      signal: AbortSignal.timeout(20_000),
    })
    const stream = tunnel.duplex()
    stream.on('error', () => undefined)
    return stream
  }
  const status = async (path: string, as?: string) => {
    const stream = await open(as)
    stream.write(`GET ${path} HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n`)
    const [said] = (await once(stream, 'data', { signal: AbortSignal.timeout(20_000) })) as [Buffer]
    stream.destroy()
    return said.toString('latin1').split('\r\n', 1)[0] ?? ''
  }
  return { waypoint, control, open, status }
}
