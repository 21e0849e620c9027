import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { ip } from '#base'
import { type SpiffeId, spiffeId, type WorkloadCertificate } from '#identity'
import { createTestCa, type TestCa } from '../../test/fakes/test-ca.ts'
import { start, stop } from '../process.ts'
import { HboneClient, type Way } from './client.ts'
import { httpPort, type Orders } from './orders.ts'

export const hbonePort = 15008
export const idOf = (serviceAccount: string): SpiffeId =>
  spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount })

/** An address of the loopback that nobody else listens on, and that needs no setting up. */
export const ownAddress = (): string => `127.${randomInt(1, 255)}.${randomInt(0, 255)}.${randomInt(1, 255)}`

/** Each proxy has the last processor for itself, everything else runs on the others. */
const cores = availableParallelism()
export const proxyCore: number | undefined = cores > 1 ? cores - 1 : undefined
const otherCores = cores > 2 ? `0-${cores - 2}` : '0'

/** The application, who calls it, and everybody's certificates. */
export type World = AsyncDisposable &
  Readonly<{
    ca: TestCa
    folder: string
    certificates: Readonly<Record<'client' | 'waypoint' | 'app', WorkloadCertificate>>
    client: HboneClient
    app: Readonly<{
      address: string
      /** Where it takes mutual TLS. */
      tlsPort: number
    }>
    /** From the client to the application without a proxy. */
    direct: Way
  }>

export async function openWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack()
  const ca = createTestCa()
  const folder = mkdtempSync(join(tmpdir(), 'lateen-bench-l7-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const certificates = {
    client: ca.workload(idOf('client')),
    waypoint: ca.workload(idOf('waypoint')),
    app: ca.workload(idOf('app')),
  }
  const client = stack.use(new HboneClient(certificates.client))
  const address = ownAddress()
  const program = new URL('backend.ts', import.meta.url).pathname
  const others = proxyCore === undefined ? [] : ['taskset', '-c', otherCores]
  const backend = start([...others, process.execPath, program], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  stack.defer(() => stop(backend))
  const orders: Orders = { address, certificate: certificates.app }
  backend.send(orders)
  const [{ tlsPort }] = (await once(backend, 'message')) as [{ tlsPort: number }]
  if (proxyCore !== undefined && process.pid > 0)
    await once(start(['taskset', '-apc', otherCores, `${process.pid}`]), 'exit')
  const open = () =>
    client.open({ address: ip(address), port: hbonePort }, idOf('app'), `${address}:${httpPort}`)
  const owned = stack.move()
  return {
    ca,
    folder,
    certificates,
    client,
    app: { address, tlsPort },
    direct: { name: 'direct', pid: undefined, open },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
