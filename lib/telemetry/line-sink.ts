import { fstatSync, writeSync } from 'node:fs'

/** Where finished lines go. It never throws, never waits, and holds a bounded number of bytes. */
export type LineSink = Readonly<{
  /** Whole lines, each with its end; `count` of them. */
  write(lines: string, count: number): void
  /** Lines that were dropped elsewhere before they came here. */
  lost(count: number): void
  /** Lines lost so far: no room, or the other end refused them. */
  dropped(): number
  /** Resolves when what was written so far has left, or cannot leave. */
  flush(): Promise<void>
}>

/** Characters that may wait for a slow reader before lines are dropped; a log must never hold the data path. */
const maxBacklogChars = 4 << 20

/** Tries to put a batch out; `done` says how many lines of its end did not get through. */
type Put = (batch: string, done: (lost: number) => void) => void

/**
 * Lines to the process's stdout. Those of one turn of the loop go out in one write: writes to a file are synchronous,
 * and one per line costs a busy proxy more than the rest of a short connection. `note` makes the line that tells how
 * many are missing. A reader that is gone and a full disk are tried again with every batch, so the log comes back.
 */
export function stdoutSink(note: (count: number) => string): LineSink {
  // An error of a standard stream that nobody listens to ends the process.
  process.stderr.on('error', () => undefined)
  const { put, waiting } = isFile(1) ? { put: putFile(1), waiting: () => 0 } : streamPut()
  return lineSink({ put, waiting, note })
}

type Target = Readonly<{
  put: Put
  /** Characters taken but not yet out. */
  waiting: () => number
  /** Tells how many lines are missing; left out where somebody else will. */
  note?: (count: number) => string
  maxChars?: number
}>

/** A sink that puts out one batch per turn of the loop. */
export function lineSink({ put, waiting, note, maxChars = maxBacklogChars }: Target): LineSink {
  let pending = ''
  let pendingCount = 0
  let dropped = 0
  let unreported = 0
  let inFlight = 0
  const idle: (() => void)[] = []
  const drop = (count: number) => {
    dropped += count
    unreported += count
  }
  const send = () => {
    const told = unreported
    const batch = told === 0 || !note ? pending : note(told) + pending
    const count = pendingCount
    pending = ''
    pendingCount = unreported = 0
    if (batch === '') return
    inFlight++
    put(batch, (lost) => {
      inFlight--
      dropped += Math.min(lost, count)
      unreported += lost > count ? told + count : lost
      if (inFlight > 0) return
      for (const resolve of idle.splice(0)) resolve()
    })
  }
  process.on('exit', send)
  return {
    write: (lines, count) => {
      if (waiting() + pending.length + lines.length > maxChars) return drop(count)
      if (pending === '') setImmediate(send)
      pending += lines
      pendingCount += count
    },
    lost: drop,
    dropped: () => dropped,
    flush: async () => {
      send()
      if (inFlight > 0) await new Promise<void>((resolve) => idle.push(resolve))
    },
  }
}

/** A pipe, a socket or a terminal: Node writes without waiting and keeps the rest. */
function streamPut(): Pick<Target, 'put' | 'waiting'> {
  const { stdout } = process
  stdout.on('error', () => undefined)
  return {
    put: (batch, done) => void stdout.write(batch, (error) => done(error ? linesIn(batch) : 0)),
    waiting: () => stdout.writableLength,
  }
}

/** What a turn of a busy proxy logs fits in; more than that has a buffer of its own. */
const fileBufferBytes = 64 << 10

/** A file: a write that was cut short by a full disk leaves half a line, which is ended before the next one. */
function putFile(fd: number): Put {
  let torn = false
  const shared = Buffer.allocUnsafeSlow(fileBufferBytes)
  return (batch, done) => {
    const text = torn ? `\n${batch}` : batch
    // A character is three bytes at most, or two of them four.
    const fits = text.length * 3 <= fileBufferBytes
    const bytes = fits ? shared : Buffer.from(text)
    const end = fits ? shared.write(text) : bytes.length
    let written = 0
    try {
      while (written < end) written += writeSync(fd, bytes, written, end - written)
    } catch {
      // told by `done`
    }
    if (written > 0) torn = bytes[written - 1] !== 0x0a
    done(written === end ? 0 : linesIn(bytes.toString('latin1', written, end)))
  }
}

const linesIn = (text: string) => text.split('\n').length - 1

function isFile(fd: number): boolean {
  try {
    const stats = fstatSync(fd)
    // /dev/null and /dev/full are written like files; a terminal is not, for it may be stopped.
    return stats.isFile() || (stats.isCharacterDevice() && !process.stdout.isTTY)
  } catch {
    return false
  }
}
