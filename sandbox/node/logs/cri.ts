export type Stream = 'stdout' | 'stderr'
/** One line of a container's log. A partial one is continued by the next of its stream. */
export type LogLine = Readonly<{ time: string; stream: Stream; partial: boolean; text: string }>

/** A line longer than this is written in parts, as container runtimes do. */
export const maxLineBytes = 16 * 1024
const newline = 0x0a

/** The CRI log format: `<time> <stream> <F|P> <text>`. */
export const criLine = (time: string, stream: Stream, partial: boolean, text: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${time} ${stream} ${partial ? 'P' : 'F'} `), text, Buffer.from('\n')])

/** The inverse; undefined for a line that is none. */
export function parseCriLine(line: string): LogLine | undefined {
  const match = /^(\S+) (stdout|stderr) ([FP]) ?(.*)$/s.exec(line)
  if (!match) return undefined
  const [, time = '', stream, tag, text = ''] = match
  return { time, stream: stream === 'stderr' ? 'stderr' : 'stdout', partial: tag === 'P', text }
}

/**
 * Cuts raw output into log lines. What is not yet a whole line is left for the next call, unless the program has
 * ended (`last`) or it is too long to wait for.
 */
export function cutLines(
  raw: Buffer,
  last: boolean,
): {
  readonly lines: readonly { readonly text: Buffer; readonly partial: boolean }[]
  readonly used: number
} {
  const lines: { text: Buffer; partial: boolean }[] = []
  let used = 0
  while (used < raw.length) {
    const end = raw.indexOf(newline, used)
    const length = (end < 0 ? raw.length : end) - used
    if (length > maxLineBytes) {
      lines.push({ text: raw.subarray(used, used + maxLineBytes), partial: true })
      used += maxLineBytes
    } else if (end >= 0) {
      lines.push({ text: raw.subarray(used, end), partial: false })
      used = end + 1
    } else if (last) {
      lines.push({ text: raw.subarray(used), partial: false })
      used = raw.length
    } else break
  }
  return { lines, used }
}

/** Kubernetes wants RFC 3339 with nanoseconds, all of the same width so that text order is time order. */
export const logTime = (ms: number): string => new Date(ms).toISOString().replace('Z', '000000Z')
