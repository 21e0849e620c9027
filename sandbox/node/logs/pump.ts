import { type FSWatcher, watch } from 'node:fs'
import { type FileHandle, open, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { coalesce } from '#base'
import { run } from '../../net/index.ts'
import { criLine, cutLines, logTime, type Stream } from './cri.ts'

/** A container's log is at most this and one rotated file of the same size. */
const maxLogBytes = 10 * 1024 * 1024
/** Disk that consumed raw output may hold before it is given back. */
const releaseBytes = 1024 * 1024
const chunkBytes = 256 * 1024
/** A busy program writes thousands of times a second; its log may be this much behind. */
const pumpIntervalMs = 100
/** Stands beside a log to which nothing will be added. */
export const logDone = 'log.done'
const streams: readonly Stream[] = ['stdout', 'stderr']

/**
 * Turns the raw output files of one container run into its log (`log`, rotated to `log.1`). The program writes to
 * plain files, so it neither blocks nor breaks while no agent is there; a new agent goes on at the kept offset.
 */
export class LogPump implements AsyncDisposable {
  readonly #dir: string
  readonly #watcher: FSWatcher
  readonly #offsets: Record<Stream, number> = { stdout: 0, stderr: 0 }
  readonly #released: Record<Stream, number> = { stdout: 0, stderr: 0 }
  #loaded = false
  #last = false
  #timer: NodeJS.Timeout | undefined
  readonly #pump = coalesce(() => this.#copy())

  constructor(dir: string) {
    this.#dir = dir
    this.#watcher = watch(dir, { persistent: false }, (_, name) => {
      if (name === 'stdout' || name === 'stderr') this.#soon()
    })
    this.#watcher.on('error', () => undefined) // the directory went away: the pod is being removed
    void this.#pump()
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.#pump()
    }, pumpIntervalMs)
  }

  /** Copies what is left, also an unfinished last line, and stops. Called when the program has ended. */
  async finish(): Promise<void> {
    this.#last = true
    clearTimeout(this.#timer)
    await this.#pump()
    this.#watcher.close()
    await writeFile(`${this.#dir}/${logDone}`, '').catch(() => undefined) // the pod may be gone already
  }

  /** Stops where it is; another agent goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher.close()
    clearTimeout(this.#timer)
    await this.#pump()
  }

  async #copy(): Promise<void> {
    try {
      if (!this.#loaded) await this.#load()
      for (const stream of streams) await this.#copyStream(stream)
    } catch {
      // The pod's directory was removed under us, or the disk is full; the program must not notice.
    }
  }

  async #load(): Promise<void> {
    for (const stream of streams) {
      const kept = await readFile(`${this.#dir}/${stream}.offset`, 'utf8').catch(() => '0')
      this.#offsets[stream] = Number(kept) || 0
      this.#released[stream] = this.#offsets[stream]
    }
    this.#loaded = true
  }

  async #copyStream(stream: Stream): Promise<void> {
    const raw = await open(`${this.#dir}/${stream}`, 'r')
    try {
      while (await this.#copyChunk(stream, raw));
    } finally {
      await raw.close()
    }
    if (this.#offsets[stream] - this.#released[stream] >= releaseBytes) await this.#release(stream)
  }

  async #copyChunk(stream: Stream, raw: FileHandle): Promise<boolean> {
    const { buffer, bytesRead } = await raw.read(
      Buffer.allocUnsafe(chunkBytes),
      0,
      chunkBytes,
      this.#offsets[stream],
    )
    const isEnd = bytesRead < chunkBytes
    const { lines, used } = cutLines(buffer.subarray(0, bytesRead), this.#last && isEnd)
    if (lines.length === 0) return false
    const time = logTime(Date.now())
    await this.#append(Buffer.concat(lines.map(({ text, partial }) => criLine(time, stream, partial, text))))
    this.#offsets[stream] += used
    await writeFile(`${this.#dir}/${stream}.offset`, String(this.#offsets[stream]))
    return !isEnd
  }

  async #append(bytes: Buffer): Promise<void> {
    const log = `${this.#dir}/log`
    const size = (await stat(log).catch(() => undefined))?.size ?? 0
    if (size > 0 && size + bytes.length > maxLogBytes) await rename(log, `${log}.1`)
    await writeFile(log, bytes, { flag: 'a' })
  }

  /** Gives the consumed part of a raw file back to the disk. Its length stays, so the program's writes go on behind it. */
  async #release(stream: Stream): Promise<void> {
    const offset = this.#offsets[stream]
    this.#released[stream] = offset
    await run([
      'fallocate',
      '--punch-hole',
      '--offset',
      '0',
      '--length',
      String(offset),
      `${this.#dir}/${stream}`,
    ])
  }
}
