import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import grpc from '@grpc/grpc-js'
import { parseSpiffeId } from '#identity'
import { silent } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl, ca as wire } from '#wire'
import { type Announcement, ZdsServer } from '../../cni/agent/zds-server.ts'
import { FakeXds } from './fake-xds.ts'
import type { LogLine } from './mesh-world.ts'
import type { PodNet } from './pod-net.ts'
import { createTestCa, type TestCa } from './test-ca.ts'
import { until } from './until.ts'

type Resources = Readonly<Record<string, { version?: string; bytes: Uint8Array }>>
const root = fileURLToPath(new URL('../..', import.meta.url))

/** A control plane for ztunnels in processes of their own: each that comes is sent everything, and gets what it asks signed. */
export class ControlPlane {
  readonly ca: TestCa = createTestCa()
  readonly directory = mkdtempSync(join(tmpdir(), 'lateen-process-'))
  readonly #server = new grpc.Server()
  #resources: Resources = {}
  readonly #stop = new AbortController()
  #xds: FakeXds | undefined
  xdsAddress = ''
  caAddress = ''

  static async start(): Promise<ControlPlane> {
    const made = new ControlPlane()
    const { ca, directory } = made
    writeFileSync(join(directory, 'root.pem'), ca.rootPem)
    writeFileSync(join(directory, 'token'), 'token')
    const xds = await FakeXds.start(ca)
    made.xdsAddress = xds.address
    made.#xds = xds
    void made.#serve(xds)
    const { certPem, keyPem } = ca.server()
    made.#server.addService(wire.IstioCertificateServiceService, {
      createCertificate: made.#sign.bind(made),
    })
    const pair = { cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) }
    const credentials = grpc.ServerCredentials.createSsl(null, [pair])
    const port = await new Promise<number>((resolve, reject) =>
      made.#server.bindAsync('127.0.0.1:0', credentials, (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    )
    made.caAddress = `localhost:${port}`
    return made
  }

  /** Per identity: was it asked for by somebody else? */
  readonly impersonated = new Map<string, boolean>()
  /** Whose token it is, for those who ask for themselves. */
  caller = ''

  /** How a ztunnel finds it. */
  get env(): Readonly<Record<string, string>> {
    return {
      XDS_ADDRESS: this.xdsAddress,
      CA_ADDRESS: this.caAddress,
      XDS_ROOT_CA: join(this.directory, 'root.pem'),
      CA_ROOT_CA: join(this.directory, 'root.pem'),
      AUTH_TOKEN: join(this.directory, 'token'),
      ADMIN_PORT: '0',
      STATS_PORT: '0',
      READINESS_PORT: '0',
      LOG_FORMAT: 'json',
      ZTUNNEL_WORKER_THREADS: '2',
    }
  }

  /** What every ztunnel is told when it comes. */
  set resources(resources: Resources) {
    this.#resources = resources
  }

  async #serve(xds: FakeXds): Promise<void> {
    for (let n = 1; !this.#stop.signal.aborted; ) {
      const stream = await xds.stream(n).catch(() => undefined) // it does not wait for ever
      if (!stream) continue
      n++
      stream.send(addressTypeUrl, this.#resources)
      stream.send(authorizationTypeUrl, {})
    }
  }

  #sign(
    call: grpc.ServerUnaryCall<wire.IstioCertificateRequest, wire.IstioCertificateResponse>,
    answer: grpc.sendUnaryData<wire.IstioCertificateResponse>,
  ): void {
    const { csr, metadata } = call.request
    const wanted: unknown = metadata?.['ImpersonatedIdentity']
    const id = parseSpiffeId(typeof wanted === 'string' ? wanted : this.caller)
    if (id) this.impersonated.set(id, wanted !== undefined)
    if (!id) return answer({ code: grpc.status.INVALID_ARGUMENT, details: 'no identity' })
    answer(null, { certChain: this.ca.sign(csr, id) })
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
    this.#server.forceShutdown()
    this.#xds?.[Symbol.dispose]()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Where ztunnels find a control plane, and room for their sockets. */
type Plane = Readonly<Pick<ControlPlane, 'env' | 'directory'>>

/** A node agent and the ztunnels of its node, of which there may be two at a time. */
export class NodeOfProcesses {
  readonly #plane: Plane
  readonly #name: string
  readonly #env: Readonly<Record<string, string>>
  readonly #zds: ZdsServer
  readonly #pods: Announcement[] = []
  readonly #all = new Set<ZtunnelProcess>()

  constructor(plane: Plane, name: string, env: Readonly<Record<string, string>> = {}) {
    this.#plane = plane
    this.#name = name
    this.#env = env
    this.#zds = new ZdsServer({
      path: this.#socket,
      snapshot: () => this.#pods,
      onAnswer: () => undefined,
      onConnected: () => undefined,
      log: silent,
    })
  }

  get #socket(): string {
    return join(this.#plane.directory, `${this.#name}.sock`)
  }

  /** To be called before the first ztunnel starts. */
  add({ name, netns }: PodNet): void {
    const [namespace, serviceAccount] = ['demo', name]
    this.#pods.push({ uid: `uid-${name}`, name, namespace, serviceAccount, netnsFd: netns.fd })
  }

  /** Resolves when it is ready. */
  async start(): Promise<ZtunnelProcess> {
    const made = this.startIn(undefined)
    await made.ready()
    return made
  }

  /** Starts one in a pod, as a container there. What it listens on has to be looked for from inside of it. */
  startIn(pod: PodNet | undefined, env: Readonly<Record<string, string>> = {}): ZtunnelProcess {
    const ztunnel = [process.execPath, 'ztunnel/main.ts']
    // A sidecar's own packets are known by their group, for they carry no mark.
    const group = pod ? ['--regid=1337', '--clear-groups'] : []
    const enter = pod ? ['nsenter', '--net=/proc/self/fd/3'] : []
    // A test that is killed takes its ztunnels along.
    const [program = '', ...args] = [...enter, 'setpriv', '--pdeathsig=KILL', ...group, ...ztunnel]
    const child = spawn(program, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit', ...(pod ? [pod.netns.fd] : [])],
      env: {
        PATH: process.env['PATH'] ?? '',
        ...this.#plane.env,
        NODE_NAME: this.#name,
        INPOD_UDS: this.#socket,
        ...this.#env,
        ...env,
      },
    })
    const made = new ZtunnelProcess(child)
    this.#all.add(made)
    void made.ended.then(() => this.#all.delete(made))
    return made
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all].map((one) => one.kill('SIGKILL')))
    this.#zds[Symbol.dispose]()
  }
}

/** A ztunnel in a process of its own. */
export class ZtunnelProcess {
  readonly lines: LogLine[] = []
  readonly ended: Promise<number | string>
  readonly #child: ChildProcess

  constructor(child: ChildProcess) {
    this.#child = child
    if (child.stdout)
      createInterface(child.stdout).on('line', (line) => this.lines.push(JSON.parse(line) as LogLine))
    this.ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string)
  }

  async ready(): Promise<void> {
    await until(() => this.port('readiness') !== undefined, 'ztunnel has started', 60_000)
    const isReady = () =>
      fetch(`http://127.0.0.1:${this.port('readiness')}/healthz/ready`).then(
        ({ status }) => status === 200,
        () => false,
      )
    while (!(await isReady())) await new Promise((done) => setTimeout(done, 20))
  }

  port(which: 'admin' | 'stats' | 'readiness'): number | undefined {
    const started = this.lines.find(({ message }) => message === 'started')
    return started && Number(started[which])
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Where its log comes out, to be held up or closed. */
  get stdout(): Readable | null {
    return this.#child.stdout
  }

  /** Its exit code, or the signal that ended it. */
  kill(signal: 'SIGTERM' | 'SIGKILL' | 'SIGINT'): Promise<number | string> {
    this.#child.kill(signal)
    return this.ended
  }
}
