const mask = (1n << 64n) - 1n
const p1 = 0x9e3779b185ebca87n
const p2 = 0xc2b2ae3d27d4eb4fn
const p3 = 0x165667b19e3779f9n
const p4 = 0x85ebca77c2b2ae63n
const p5 = 0x27d4eb2f165667c5n

const rotate = (x: bigint, bits: bigint) => ((x << bits) | (x >> (64n - bits))) & mask
const round = (lane: bigint, input: bigint) => (rotate((lane + input * p2) & mask, 31n) * p1) & mask
const merge = (hash: bigint, lane: bigint) => ((hash ^ round(0n, lane)) * p1 + p4) & mask

/** xxHash64, by which Envoy's hashing balancers choose. */
export function xxhash64(text: string | Buffer, seed = 0n): bigint {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  let at = 0
  let hash: bigint
  if (bytes.length >= 32) {
    let [a, b, c, d] = [(seed + p1 + p2) & mask, (seed + p2) & mask, seed, (seed - p1) & mask]
    for (; at + 32 <= bytes.length; at += 32) {
      a = round(a, bytes.readBigUInt64LE(at))
      b = round(b, bytes.readBigUInt64LE(at + 8))
      c = round(c, bytes.readBigUInt64LE(at + 16))
      d = round(d, bytes.readBigUInt64LE(at + 24))
    }
    hash = (rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n)) & mask
    for (const lane of [a, b, c, d]) hash = merge(hash, lane)
  } else hash = (seed + p5) & mask
  hash = (hash + BigInt(bytes.length)) & mask
  for (; at + 8 <= bytes.length; at += 8)
    hash = (rotate(hash ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * p1 + p4) & mask
  if (at + 4 <= bytes.length) {
    hash = (rotate(hash ^ ((BigInt(bytes.readUInt32LE(at)) * p1) & mask), 23n) * p2 + p3) & mask
    at += 4
  }
  for (; at < bytes.length; at++)
    hash = (rotate(hash ^ ((BigInt(bytes[at] ?? 0) * p5) & mask), 11n) * p1) & mask
  hash = ((hash ^ (hash >> 33n)) * p2) & mask
  hash = ((hash ^ (hash >> 29n)) * p3) & mask
  return hash ^ (hash >> 32n)
}
