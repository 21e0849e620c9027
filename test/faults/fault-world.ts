import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addressTypeUrl } from '#wire'
import { FakeAgent } from '../fakes/fake-agent.ts'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { connectIn, FakeNetwork, listenIn, type PodNet } from '../fakes/pod-net.ts'
import { createTestCa } from '../fakes/test-ca.ts'
import { ControlPlane } from '../helpers/control-plane.ts'
import { type ProcessOptions, ZtunnelProcess } from '../helpers/ztunnel-process.ts'

export type NodeOptions = Omit<ProcessOptions, 'env'> & { env?: Readonly<Record<string, string>> }
export type FaultNode = Readonly<{ ztunnel: ZtunnelProcess; agent: FakeAgent }>

export const vip = '10.96.0.10'
export const appPort = 8080
/** Every row prints what it measured. */
export const report = (row: string, figures: Readonly<Record<string, unknown>>): void =>
  void process.stderr.write(`${JSON.stringify({ row, ...figures })}\n`)

/** `client` on n1 and `server` on n2, each node a ztunnel process of its own, both captured; one control plane. */
export class FaultWorld {
  readonly ca = createTestCa()
  readonly network: FakeNetwork
  readonly client: PodNet
  readonly server: PodNet
  readonly control: ControlPlane
  readonly n1: FaultNode
  readonly n2: FaultNode
  readonly #stack: AsyncDisposableStack

  private constructor(
    o: Pick<FaultWorld, 'ca' | 'network' | 'client' | 'server' | 'control' | 'n1' | 'n2'>,
    stack: AsyncDisposableStack,
  ) {
    this.ca = o.ca
    this.network = o.network
    this.client = o.client
    this.server = o.server
    this.control = o.control
    this.n1 = o.n1
    this.n2 = o.n2
    this.#stack = stack
  }

  /** `prefix` names its network namespaces; the options are for the ztunnels of n1 and n2. */
  static async start(prefix: string, first: NodeOptions = {}, second: NodeOptions = {}): Promise<FaultWorld> {
    await using stack = new AsyncDisposableStack()
    const ca = createTestCa({ backdateMs: 10 * 60_000 })
    const folder = mkdtempSync(join(tmpdir(), 'lateen-fault-'))
    stack.defer(() => rmSync(folder, { recursive: true, force: true }))
    writeFileSync(join(folder, 'root.pem'), ca.rootPem)
    writeFileSync(join(folder, 'token'), 'token')
    const network = stack.use(new FakeNetwork(prefix))
    const client = network.pod('client', 1)
    const server = network.pod('server', 2)
    const control = stack.use(await ControlPlane.start(ca))
    control.push(addressTypeUrl, resourcesOf(client, server))
    const start = (name: string, { env = {}, ...rest }: NodeOptions): FaultNode => {
      const socket = join(folder, `${name}.sock`)
      const agent = stack.use(new FakeAgent(socket))
      const ztunnel = stack.use(
        new ZtunnelProcess({ ...rest, env: { ...envOf(name, folder, control.port, socket), ...env } }),
      )
      return { agent, ztunnel }
    }
    const n1 = start('n1', first)
    const n2 = start('n2', second)
    for (const [{ agent, ztunnel }, pod] of [
      [n1, client],
      [n2, server],
    ] as const) {
      await inTime(ztunnel, 'connects to the node agent', agent.connected())
      await inTime(ztunnel, 'takes the snapshot', agent.snapshotSent())
      const uid = `uid-${pod.name}`
      const added = agent.add({
        uid,
        name: pod.name,
        namespace: 'demo',
        serviceAccount: pod.name,
        netns: pod.netns,
      })
      const ack = await inTime(ztunnel, 'takes a pod', added)
      if (ack !== '') throw new Error(ack)
      await ztunnel.ready()
      pod.capture()
    }
    return new FaultWorld({ ca, network, client, server, control, n1, n2 }, stack.move())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

const startMs = 100_000

/** Waits for a ztunnel, but not for one that has left, or says nothing at all. */
async function inTime<T>(ztunnel: ZtunnelProcess, what: string, done: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const began = performance.now()
  const timer = setInterval(() => {
    if (ztunnel.alive && performance.now() - began < startMs) return
    const state = ztunnel.alive ? 'late' : 'gone'
    const lines = ztunnel.lines.map((line) => JSON.stringify(line)).join('\n')
    reject(new Error(`before it ${what} ztunnel is ${state}: ${ztunnel.stderr}\n${lines}`))
  }, 100)
  try {
    return await Promise.race([done, promise])
  } finally {
    clearInterval(timer)
  }
}

const envOf = (name: string, folder: string, port: number, socket: string) => ({
  NODE_NAME: name,
  XDS_ADDRESS: `localhost:${port}`,
  CA_ADDRESS: `localhost:${port}`,
  XDS_ROOT_CA: join(folder, 'root.pem'),
  CA_ROOT_CA: join(folder, 'root.pem'),
  AUTH_TOKEN: join(folder, 'token'),
  INPOD_UDS: socket,
  DNS_CAPTURE: 'false',
  ZTUNNEL_WORKER_THREADS: '1',
})

export const resourcesOf = (client: PodNet, server: PodNet) => ({
  ...workloadResource({ name: 'client', node: 'n1', addresses: [client.v4, client.v6] }),
  ...workloadResource({
    name: 'server',
    node: 'n2',
    addresses: [server.v4, server.v6],
    services: { 'demo/web.demo.svc.cluster.local': { 80: appPort } },
  }),
  ...serviceResource({ name: 'web', vips: [vip, 'fd96::10'], ports: { 80: appPort } }),
})

/** An app in a pod that says everything back. */
export const echoIn = (pod: PodNet, port = appPort) =>
  listenIn(pod.netns, port, (socket) => void socket.pipe(socket))

/** One connection, one line there and back, an end. Its milliseconds, or why not. */
export async function call(pod: PodNet, host = vip, port = 80, ms = 20_000): Promise<number | string> {
  const began = performance.now()
  let socket: Socket | undefined
  const signal = AbortSignal.timeout(ms)
  try {
    socket = await connectIn(pod.netns, host, port)
    socket.on('error', () => undefined)
    const answer = once(socket, 'data', { signal })
    socket.write('ping')
    const [data] = await answer
    if (String(data) !== 'ping') return `wrong answer ${String(data)}`
    return performance.now() - began
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : 'failed'
  } finally {
    socket?.destroy()
  }
}

/** A command in a pod's network namespace; what it says. */
export const inPod = ({ network }: FaultWorld, pod: string, ...command: readonly string[]): string =>
  execFileSync('ip', ['netns', 'exec', network.fabric.replace(/fab$/, pod), ...command]).toString()

/** HBONE connections that the server's pod has. */
export const hboneConnections = (world: FaultWorld): number =>
  inPod(world, 'server', 'ss', '-Htn', 'state', 'established', 'sport = :15008')
    .split('\n')
    .filter((line) => line !== '').length

/** Calls at a steady rate until stopped: how many went well, and what was said of the others. */
export function traffic(pod: PodNet, perSecond = 20) {
  const failures: string[] = []
  const latencies: number[] = []
  const running = new Set<Promise<void>>()
  const one = async () => {
    const result = await call(pod)
    if (typeof result === 'number') latencies.push(result)
    else failures.push(result)
  }
  const timer = setInterval(() => {
    const running1 = one().finally(() => running.delete(running1))
    running.add(running1)
  }, 1_000 / perSecond)
  return {
    failures,
    latencies,
    stop: async () => {
      clearInterval(timer)
      await Promise.all(running)
    },
  }
}

/** The value below which this share of them lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
