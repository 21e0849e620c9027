import { existsSync, watch } from 'node:fs'
import { type FileHandle, open, readFile, stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { type LogLine, parseCriLine } from './cri.ts'
import { logDone } from './pump.ts'

export type LogQuery = Readonly<{
  follow: boolean
  timestamps: boolean
  tailLines: number | undefined
  /** RFC 3339; older lines are left out. */
  since: string | undefined
  limitBytes: number | undefined
}>

/** A follower looks at least this often, should a file notification be lost. */
const pollMs = 1_000
const chunkBytes = 256 * 1024

/** The log of a container run as `kubectl logs` prints it. With `follow` it ends when the container has. */
export async function* readLog(dir: string, query: LogQuery, signal: AbortSignal): AsyncGenerator<string> {
  let left = query.limitBytes ?? Infinity
  for await (const lines of lineBatches(dir, query, signal)) {
    const text = lines
      .filter(({ time }) => query.since === undefined || time >= query.since)
      .map((line) => `${query.timestamps ? `${line.time} ` : ''}${line.text}${line.partial ? '' : '\n'}`)
      .join('')
    if (text === '') continue
    yield Buffer.byteLength(text) <= left ? text : Buffer.from(text).subarray(0, left).toString()
    left -= Buffer.byteLength(text)
    if (left <= 0) return
  }
}

/** What is there (its tail, if only that is wanted), then what is added. */
async function* lineBatches(
  dir: string,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<readonly LogLine[]> {
  const old = await readFile(`${dir}/log.1`, 'utf8').catch(() => '')
  using follower = query.follow ? changesOf(dir) : undefined
  let file = await openLog(dir)
  try {
    const position = { file, offset: 0, rest: '' }
    const present = [...parse(old), ...(await readOn(position))]
    yield query.tailLines === undefined ? present : present.slice(-query.tailLines || present.length)
    while (follower && !signal.aborted) {
      const isDone = existsSync(`${dir}/${logDone}`) || !existsSync(dir)
      const added = await readOn(position)
      if (added.length > 0) yield added
      const replaced = await isReplaced(dir, position.file)
      if (replaced) {
        await position.file?.close()
        file = await openLog(dir)
        Object.assign(position, { file, offset: 0, rest: '' })
      } else if (isDone) return
      else if (added.length === 0) await follower.next(signal)
    }
  } finally {
    await file?.close()
  }
}

const openLog = (dir: string): Promise<FileHandle | undefined> =>
  open(`${dir}/log`, 'r').catch(() => undefined)

/** Was the log rotated away (or made at last) since it was opened? */
async function isReplaced(dir: string, file: FileHandle | undefined): Promise<boolean> {
  const now = await stat(`${dir}/log`).catch(() => undefined)
  if (!now) return false
  return !file || (await file.stat()).ino !== now.ino
}

type Position = { file: FileHandle | undefined; offset: number; rest: string }

/** All whole lines from here to the present end. */
async function readOn(position: Position): Promise<readonly LogLine[]> {
  const { file } = position
  if (!file) return []
  const chunks: Buffer[] = []
  for (;;) {
    const { buffer, bytesRead } = await file.read(
      Buffer.allocUnsafe(chunkBytes),
      0,
      chunkBytes,
      position.offset,
    )
    if (bytesRead === 0) break
    chunks.push(buffer.subarray(0, bytesRead))
    position.offset += bytesRead
  }
  // The writer appends whole lines only, so no character is ever cut in two here.
  const text = position.rest + Buffer.concat(chunks).toString('utf8')
  const end = text.lastIndexOf('\n') + 1
  position.rest = text.slice(end)
  return parse(text.slice(0, end))
}

const parse = (text: string): LogLine[] => text.split('\n').flatMap((line) => parseCriLine(line) ?? [])

/** Waits for anything to happen in a directory. */
function changesOf(dir: string): Disposable & { next(signal: AbortSignal): Promise<void> } {
  let changed = Promise.withResolvers<void>()
  const watcher = watch(dir, { persistent: false }, () => changed.resolve())
  watcher.on('error', () => changed.resolve())
  return {
    async next(signal) {
      await Promise.race([changed.promise, delay(pollMs, undefined, { signal }).catch(() => undefined)])
      changed = Promise.withResolvers<void>()
    },
    [Symbol.dispose]: () => watcher.close(),
  }
}
