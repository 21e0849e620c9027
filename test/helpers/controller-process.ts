import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ChannelCredentials } from '@grpc/grpc-js'
import type { Cluster } from '#kube'
import { ads } from '#wire'
import { until } from '../fakes/until.ts'

/** A whole controller in a process of its own. */
export class ControllerProcess implements AsyncDisposable {
  readonly child: ChildProcess
  readonly lines: Readonly<Record<string, unknown>>[] = []
  readonly #dir = mkdtempSync(join(tmpdir(), 'lateen-controller-'))
  readonly #exited: Promise<unknown>
  stderr = ''

  private constructor(server: URL, token: string, env: Readonly<Record<string, string>>) {
    const kubeconfig = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'x',
      contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
      clusters: [{ name: 'x', cluster: { server: server.href.replace(/\/$/, '') } }],
      users: [{ name: 'x', user: { token } }],
    }
    writeFileSync(join(this.#dir, 'config'), JSON.stringify(kubeconfig))
    // A test that is killed takes its processes with it.
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, 'controller/main.ts'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        KUBECONFIG: join(this.#dir, 'config'),
        PATH: process.env['PATH'] ?? '',
        LOG_FORMAT: 'json',
        XDS_PORT: '0',
        WEBHOOK_PORT: '0',
        MONITORING_PORT: '0',
        READINESS_PORT: '0',
        PILOT_DEBOUNCE_AFTER: '5ms',
        ...env,
      },
    })
    this.#exited = once(this.child, 'exit')
    this.child.stderr?.on('data', (part: Buffer) => (this.stderr = (this.stderr + part).slice(-8_000)))
    let rest = ''
    this.child.stdout?.on('data', (part: Buffer) => {
      const pieces = (rest + part).split('\n')
      rest = pieces.pop() ?? ''
      for (const piece of pieces) if (piece.startsWith('{')) this.lines.push(JSON.parse(piece))
    })
  }

  static async start(
    cluster: Cluster,
    env: Readonly<Record<string, string>> = {},
  ): Promise<ControllerProcess> {
    const { token = '' } = await cluster.credentials()
    const started = new ControllerProcess(cluster.server, token, env)
    await until(() => started.said('ready') || started.child.exitCode !== null, 'the controller is ready')
    if (!started.said('ready')) throw new Error(`the controller has left: ${started.stderr}`)
    return started
  }

  said(message: string, having: Readonly<Record<string, unknown>> = {}): boolean {
    return this.lines.some(
      (line) =>
        line['message'] === message && Object.entries(having).every(([key, value]) => line[key] === value),
    )
  }

  /** A client of its xDS that trusts this root. */
  ads(root: string): ads.AggregatedDiscoveryServiceClient {
    const port = this.lines.find(({ message }) => message === 'ready')?.['xds']
    return new ads.AggregatedDiscoveryServiceClient(
      `127.0.0.1:${String(port)}`,
      ChannelCredentials.createSsl(Buffer.from(root)),
      { 'grpc.ssl_target_name_override': 'istiod.istio-system.svc' },
    )
  }

  /** Gone at once, without a word to anybody. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.#exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
