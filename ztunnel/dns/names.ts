/** Bytes of a name on the wire, at most (RFC 1035 §2.3.4). */
const maxNameBytes = 255
/** Pointers followed within one name: a writer needs one, some chain two or three. */
const maxPointers = 16
/** Behind the header: what points into that reads other letters in another message. */
const firstName = 12
/** A label's length has the two upper bits clear; with both set it is a pointer. */
const pointer = 0xc0
const plainBytes = /^[A-Za-z0-9_*-]*$/

/**
 * The name of a question as lower-case text without the final dot ('' is the root), and where it ends. A byte that no
 * host name has is escaped, so that a label with a dot in it is never taken for two. Undefined for anything broken;
 * a pointer is, for there is nothing before a question that it could point to.
 */
export function readName(bytes: Buffer, start: number): { name: string; end: number } | undefined {
  const labels: string[] = []
  for (let at = start; at < bytes.length && at - start < maxNameBytes; ) {
    const length = bytes[at] ?? 0
    if (length === 0) return { name: labels.join('.'), end: at + 1 }
    if (length >= 64 || at + 1 + length > bytes.length) return undefined
    labels.push(textOf(bytes.toString('latin1', at + 1, at + 1 + length)))
    at += 1 + length
  }
  return undefined
}

const textOf = (label: string): string =>
  plainBytes.test(label)
    ? label.toLowerCase()
    : label.replace(/[^\w*-]/g, (byte) => `\\${String(byte.charCodeAt(0)).padStart(3, '0')}`).toLowerCase()

/** Where a name ends that may use pointers; -1 for one that is broken, too long or does not end. */
export function skipName(bytes: Buffer, start: number): number {
  let end = -1
  let before = start
  let until = bytes.length
  let total = 0
  for (let at = start, hops = 0; at < until; ) {
    const length = bytes[at] ?? 0
    if (length >= pointer) {
      const target = ((length & 0x3f) << 8) | (bytes[at + 1] ?? 0)
      if (end < 0) end = at + 2
      // Always to what was written, and ended, earlier: that alone makes a loop impossible.
      if (target < firstName || target >= before || at + 2 > until || ++hops > maxPointers) return -1
      until = before
      before = at = target
      continue
    }
    if (length >= 64) return -1
    total += 1 + length
    if (total > maxNameBytes || at + 1 + length > until) return -1
    if (length === 0) return end < 0 ? at + 1 : end
    at += 1 + length
  }
  return -1
}

/** Text → the bytes of a name; undefined for one that cannot be written. Names with escapes never get here. */
export function writeName(name: string): Buffer | undefined {
  if (name === '') return Buffer.of(0)
  const labels = name.split('.')
  const bytes = Buffer.allocUnsafe(name.length + 2)
  let at = 0
  for (const label of labels) {
    if (label === '' || label.length > 63) return undefined
    bytes[at] = label.length
    at += 1 + bytes.write(label, at + 1, 'latin1')
  }
  bytes[at] = 0
  return bytes.length <= maxNameBytes ? bytes : undefined
}
