import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'

type LogLine = Readonly<Record<string, unknown>>
type Ports = Readonly<{ admin: number; stats: number; readiness: number }>

export type ProcessOptions = Readonly<{
  env: Readonly<Record<string, string>>
  /** Put before `node`, such as `prlimit --nofile=256:256`. */
  wrap?: readonly string[]
  /** For `node`. */
  flags?: readonly string[]
  /** Another program than ztunnel's. */
  main?: string
  /** Where its log goes instead of to us; then the ports have to be known beforehand. */
  stdout?: number
  ports?: Ports
}>

/** A whole ztunnel in a process of its own. */
export class ZtunnelProcess {
  readonly child: ChildProcess
  readonly lines: LogLine[] = []
  readonly exited: Promise<unknown>
  /** What it wrote to stderr, the end of it. */
  stderr = ''
  #ports: Ports | undefined

  constructor(o: ProcessOptions) {
    const given = ['node', ...(o.flags ?? []), o.main ?? 'ztunnel/main.ts']
    // A test that is killed takes its processes with it.
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', ...(o.wrap ?? []), ...given], {
      stdio: ['ignore', o.stdout ?? 'pipe', 'pipe'],
      env: {
        ...process.env,
        LOG_FORMAT: 'json',
        ADMIN_PORT: '0',
        STATS_PORT: '0',
        READINESS_PORT: '0',
        ...o.env,
      },
    })
    this.#ports = o.ports
    this.exited = once(this.child, 'exit')
    this.child.stderr?.on('data', (part: Buffer) => (this.stderr = (this.stderr + part).slice(-8_000)))
    if (this.child.stdout) this.#follow(this.child.stdout)
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  #follow(stdout: Readable): void {
    let rest = ''
    stdout.on('data', (part: Buffer) => {
      const pieces = (rest + part).split('\n')
      rest = pieces.pop() ?? ''
      for (const piece of pieces) this.#heard(piece)
    })
  }

  #heard(text: string): void {
    let line: LogLine
    try {
      line = JSON.parse(text)
    } catch {
      return
    }
    this.lines.push(line)
    if (line['message'] === 'started')
      this.#ports = {
        admin: Number(line['admin']),
        stats: Number(line['stats']),
        readiness: Number(line['readiness']),
      }
  }

  get ports(): Ports {
    if (!this.#ports) throw new Error(`not started: ${this.stderr}`)
    return this.#ports
  }

  async ready(ms = 20_000): Promise<void> {
    const deadline = Date.now() + ms
    while (!(await this.#isReady())) {
      if (!this.alive) throw new Error(`ztunnel has left: ${this.stderr}`)
      if (Date.now() > deadline) throw new Error(`ztunnel is not ready: ${this.stderr}`)
      await new Promise((done) => setTimeout(done, 20))
    }
  }

  async #isReady(): Promise<boolean> {
    if (!this.#ports) return false
    try {
      return (await fetch(`http://127.0.0.1:${this.#ports.readiness}/healthz/ready`)).ok
    } catch {
      return false
    }
  }

  get(port: keyof Ports, path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.ports[port]}${path}`, { signal: AbortSignal.timeout(20_000) })
  }

  /** Lines of the metrics as name{labels} → value. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const text = await (await this.get('stats', '/metrics')).text()
    const pairs = text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line): [string, number] => {
        const at = line.lastIndexOf(' ')
        return [line.slice(0, at), Number(line.slice(at + 1))]
      })
    return new Map(pairs)
  }

  /** The sum of a metric over its labels; those that `having` names, if it names any. */
  async metric(name: string, having = ''): Promise<number> {
    let sum = 0
    for (const [key, value] of await this.metrics())
      if ((key === name || key.startsWith(`${name}{`)) && key.includes(having)) sum += value
    return sum
  }

  get rssBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024
  }

  get descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await this.exited
  }
}
