import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, statSync, truncateSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { backoffMs, messageOf, sleep } from '#base'
import type { Logger } from '#telemetry'

type ChildOptions = Readonly<{
  name: string
  command: readonly string[]
  env: NodeJS.ProcessEnv
  logFile: string
  log: Logger
  signal: AbortSignal
  onChange: () => void
}>

export type ChildState = Readonly<{
  name: string
  pid?: number | undefined
  restarts: number
  /** Ends in a row that came soon and were not orderly. */
  failures: number
  /** How it last ended. */
  lastEnd?: string | undefined
}>

/** Quick at first, because tests and people kill things to see them come back. */
const restart = { baseMs: 200, capMs: 10_000 }
/** A child that ran this long was well: its end is a first one again. */
const soundRunMs = 10_000
/** As long as a child may take to end by itself. */
const stopTimeoutMs = 5_000
const maxLogBytes = 10 * 1024 * 1024
const logCheckMs = 10_000

/** Keeps one process running until the signal fires. Its output goes to a file that outlives us. */
export class Child {
  readonly name: string
  readonly #options: ChildOptions
  readonly #done: Promise<void>
  #process: ChildProcess | undefined
  #restarts = 0
  #failures = 0
  #lastEnd: string | undefined

  constructor(options: ChildOptions) {
    this.name = options.name
    this.#options = options
    this.#done = this.#run()
  }

  /** For `status`. */
  get state(): ChildState {
    return {
      name: this.name,
      pid: this.#process?.pid,
      restarts: this.#restarts,
      failures: this.#failures,
      lastEnd: this.#lastEnd,
    }
  }

  /** Asks it to end, then makes it. The signal of the options must have fired. */
  async end(): Promise<void> {
    const child = this.#process
    child?.kill('SIGTERM')
    const timer = setTimeout(() => child?.kill('SIGKILL'), stopTimeoutMs)
    await this.#done
    clearTimeout(timer)
  }

  async #run(): Promise<void> {
    const { signal, log, onChange } = this.#options
    let quickEnds = 0
    while (!signal.aborted) {
      const began = Date.now()
      const how = await this.#once().catch(messageOf)
      this.#process = undefined
      if (signal.aborted) return
      this.#restarts++
      const wasSound = Date.now() - began >= soundRunMs
      quickEnds = wasSound ? 1 : quickEnds + 1
      this.#failures = wasSound || how === 'exit 0' ? 0 : this.#failures + 1
      this.#lastEnd = how
      const waitMs = backoffMs(quickEnds, restart)
      log.warn('process ended, will be restarted', { name: this.name, how, waitMs: Math.round(waitMs) })
      onChange()
      await sleep(waitMs, signal).catch(() => undefined)
    }
  }

  async #once(): Promise<string> {
    const { command, env, logFile, onChange } = this.#options
    const [program = '', ...args] = command
    const out = openSync(logFile, 'a')
    const child = spawn(program, args, { cwd: '/', env, stdio: ['ignore', out, out] })
    closeSync(out)
    this.#process = child
    child.once('spawn', onChange)
    const timer = setInterval(() => void boundLog(logFile).catch(() => undefined), logCheckMs)
    const { promise, resolve } = Promise.withResolvers<string>()
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, killedBy) => resolve(killedBy ?? `exit ${code}`))
    const how = await promise
    clearInterval(timer)
    return how
  }
}

/**
 * The writer has the file open for appending, so it is emptied in place; what was in it is kept once, unless the disk is
 * full: then it is emptied all the same.
 */
async function boundLog(path: string): Promise<void> {
  if (!existsSync(path) || statSync(path).size < maxLogBytes) return
  await copyFile(path, `${path}.1`).finally(() => truncateSync(path))
}
