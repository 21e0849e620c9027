import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { messageOf, sleep } from '#base'
import { LogPump } from './logs/pump.ts'
import type { PodContainer } from './pod/pod.ts'
import { ask, type ProbeTarget } from './probes/ask.ts'
import { type ProbeNews, runProbes } from './probes/prober.ts'
import {
  endExec,
  execInContainer,
  type ExecTarget,
  type Exit,
  signalContainer,
  waitForExit,
} from './runtime/container.ts'

type Options = Readonly<{
  dir: string
  container: PodContainer
  podIp: string
  /** The startup probe passed in an earlier agent's time. */
  started: boolean
  onProbe: (news: ProbeNews) => void
  onExit: (exit: Exit) => void
}>

/** A probe's or hook's output beyond this says nothing new. */
const maxExecOutput = 4_096
/** As the kubelet: a container has at least this long after SIGTERM, however long preStop took. */
const leastGraceMs = 2_000

/** Keeps what exec needs to know of a container beside it, for agents to come. */
export const keepTarget = (target: ExecTarget): Promise<void> =>
  writeFile(`${target.dir}/target.json`, JSON.stringify(target), { mode: 0o600 })

/** What `keepTarget` kept. */
export const readTarget = (dir: string): ExecTarget =>
  JSON.parse(readFileSync(`${dir}/target.json`, 'utf8')) as ExecTarget

/** One running container: its log is kept, its probes are asked, its end is told. */
export class ContainerRun {
  readonly exited: Promise<Exit>
  readonly #options: Options
  readonly #abort = new AbortController()
  readonly #probes = new AbortController()
  readonly #pump: LogPump
  #stopping: Promise<void> | undefined

  constructor(options: Options) {
    this.#options = options
    this.#pump = new LogPump(options.dir)
    this.exited = this.#watch()
    this.exited.then(options.onExit, () => undefined) // rejected only by our own dispose
    const { container, onProbe, started } = options
    void runProbes(container, this.target, onProbe, started, this.#probes.signal)
  }

  get target(): ProbeTarget {
    const { podIp, container, dir } = this.#options
    return {
      podIp,
      ports: container.ports,
      exec: (command, signal) => execToEnd(readTarget(dir), command, signal),
    }
  }

  /** Ends it: preStop, SIGTERM, after the grace SIGKILL. A shorter grace later shortens the wait. */
  stop(graceMs: number): Promise<void> {
    if (graceMs <= 0) signalContainer(this.#options.dir, 'SIGKILL')
    this.#stopping ??= this.#end(graceMs)
    return this.#stopping
  }

  /** Forgets it without ending it; another agent may go on. */
  async release(): Promise<void> {
    this.#probes.abort()
    this.#abort.abort()
    await this.#pump[Symbol.asyncDispose]()
  }

  async #watch(): Promise<Exit> {
    const exit = await waitForExit(this.#options.dir, this.#abort.signal)
    this.#probes.abort()
    await this.#pump.finish()
    return exit
  }

  async #end(graceMs: number): Promise<void> {
    const began = Date.now()
    this.#probes.abort()
    const { dir, container } = this.#options
    const { preStop } = container.lifecycle
    if (preStop && graceMs > 0) {
      if (preStop.sleep) await this.#patience(preStop.sleep.seconds * 1000)
      else await ask(preStop, this.target, graceMs, this.#abort.signal)
    }
    signalContainer(dir, 'SIGTERM')
    const left = graceMs <= 0 ? 0 : Math.max(leastGraceMs, graceMs - (Date.now() - began))
    await this.#patience(left)
    signalContainer(dir, 'SIGKILL')
    await this.exited
  }

  /** Waits, but not longer than the container lives. */
  async #patience(ms: number): Promise<void> {
    const over = new AbortController()
    await Promise.race([this.exited, sleep(ms, over.signal).catch(() => undefined)]).finally(() =>
      over.abort(),
    )
  }
}

/** Runs a command in a container to its end and returns the tail of what it printed. */
export async function execToEnd(
  target: ExecTarget,
  command: readonly string[],
  signal: AbortSignal,
): Promise<{ code: number; output: string }> {
  const child = execInContainer(target, command)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-maxExecOutput)
    })
  child.stdin?.on('error', () => undefined)
  child.stdin?.end()
  const abort = () => endExec(child)
  signal.addEventListener('abort', abort, { once: true })
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  child.once('error', (error) => reject(new Error(`cannot exec: ${messageOf(error)}`)))
  child.once('close', (code) => resolve(code ?? 137))
  try {
    const code = await promise
    signal.throwIfAborted()
    return { code, output }
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
