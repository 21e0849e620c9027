import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type LogControl, startLogging } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { startZtunnel, type Ztunnel } from '../../ztunnel/app.ts'
import { parseConfig } from '../../ztunnel/config.ts'
import { type Spawn, spawnInline } from '../../ztunnel/control/index.ts'
import { FakeAgent } from './fake-agent.ts'
import { FakeXds } from './fake-xds.ts'
import { FakeNetwork, type PodNet } from './pod-net.ts'
import { createTestCa, type TestCa } from './test-ca.ts'

export type LogLine = Readonly<Record<string, unknown> & { level: string; scope: string; message: string }>
type Resources = Readonly<Record<string, { version?: string; bytes: Uint8Array }>>

/** One ztunnel with its own control plane and node agent, in this process. */
export type WorldNode = Readonly<{
  name: string
  ztunnel: Ztunnel
  agent: FakeAgent
  /** Its log as parsed JSON. */
  lines: LogLine[]
  push(upserts: Resources, removed?: string[]): Promise<void>
  pushPolicies(upserts: Resources, removed?: string[]): Promise<void>
  /** Enrols a pod whose name is also its service account. */
  enrol(pod: PodNet): Promise<string>
  stop(): Promise<void>
}>

/** Nodes and pods on one switch. Everything is gone after dispose. */
export class MeshWorld {
  readonly ca: TestCa = createTestCa()
  readonly network: FakeNetwork
  /** Certificates that were issued so far, per identity. */
  readonly issued = new Map<string, number>()
  readonly #nodes: WorldNode[] = []
  readonly #directory = mkdtempSync(join(tmpdir(), 'lateen-world-'))

  constructor(prefix: string) {
    this.network = new FakeNetwork(prefix)
    writeFileSync(join(this.#directory, 'root.pem'), this.ca.rootPem)
    writeFileSync(join(this.#directory, 'token'), 'token')
  }

  /** Data workers live in this thread, one of them, unless `spawn` says otherwise. */
  async node(
    name: string,
    env: Readonly<Record<string, string>> = {},
    spawnWith: (logs: LogControl) => Spawn = (logs) => spawnInline(logs),
  ): Promise<WorldNode> {
    const xds = await FakeXds.start(this.ca)
    const socket = join(this.#directory, `${name}.sock`)
    const agent = new FakeAgent(socket)
    const config = parseConfig({
      NODE_NAME: name,
      XDS_ADDRESS: xds.address,
      XDS_ROOT_CA: join(this.#directory, 'root.pem'),
      AUTH_TOKEN: join(this.#directory, 'token'),
      INPOD_UDS: socket,
      ADMIN_PORT: '0',
      STATS_PORT: '0',
      READINESS_PORT: '0',
      RELEASE_GRACE: '0ms',
      ZTUNNEL_WORKER_THREADS: '1',
      LOG_FORMAT: 'json',
      ...env,
    })
    const lines: LogLine[] = []
    const logs = startLogging({ format: 'json', write: (line) => lines.push(JSON.parse(line)) })
    const sign = async (csr: string, id: Parameters<TestCa['sign']>[1]) => {
      this.issued.set(id, (this.issued.get(id) ?? 0) + 1)
      return this.ca.sign(csr, id)
    }
    const ztunnel = await startZtunnel(config, { logs, sign, spawn: spawnWith(logs), podRetryMs: 100 })
    const stream = await xds.stream()
    const push =
      (typeUrl: string) =>
      async (upserts: Resources, removed: string[] = []) => {
        const answers = xds.lines.length
        stream.send(typeUrl, upserts, removed)
        await xds.until(() => xds.lines.length > answers)
      }
    let stopped = false
    const node: WorldNode = {
      name,
      ztunnel,
      agent,
      lines,
      push: push(addressTypeUrl),
      pushPolicies: push(authorizationTypeUrl),
      enrol: ({ name: pod, netns }) =>
        agent.add({ uid: `uid-${pod}`, name: pod, namespace: 'demo', serviceAccount: pod, netns }),
      stop: async () => {
        if (stopped) return
        stopped = true
        await ztunnel[Symbol.asyncDispose]()
        agent[Symbol.dispose]()
        xds[Symbol.dispose]()
      },
    }
    this.#nodes.push(node)
    await xds.until(() => xds.lines.length >= 2)
    await node.push({})
    await node.pushPolicies({})
    await agent.connected()
    await agent.snapshotSent()
    return node
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.stop()))
    this.network[Symbol.dispose]()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** Access-log lines of connections that have ended. */
export const completed = ({ lines }: WorldNode): readonly LogLine[] =>
  lines.filter(({ scope, message }) => scope === 'access' && message === 'connection complete')

/** Polls until `condition` holds. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  ms = 20_000,
): Promise<void> {
  const deadline = Date.now() + ms
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`)
    await new Promise((done) => setTimeout(done, 10))
  }
}
