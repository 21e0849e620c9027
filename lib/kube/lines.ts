import { MeshError } from '#base'

/** A watch event is one object on one line; etcd refuses objects above 1.5 MiB, JSON may be a few times that. */
const maxLineBytes = 16 << 20

/** Splits a byte stream into lines without ever holding more than `limit` bytes of an unfinished one. */
export function lineSplitter(limit = maxLineBytes): (chunk: Buffer) => string[] {
  let held: Buffer[] = []
  let heldBytes = 0
  return (chunk) => {
    const lines: string[] = []
    let start = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const line = Buffer.concat([...held, chunk.subarray(start, end)]).toString('utf8')
      held = []
      heldBytes = 0
      start = end + 1
      if (line.trim() !== '') lines.push(line)
    }
    if (start < chunk.length) {
      held.push(chunk.subarray(start))
      heldBytes += chunk.length - start
      if (heldBytes > limit)
        throw new MeshError('over-limit', { message: `a watch line exceeds ${limit} bytes` })
    }
    return lines
  }
}
