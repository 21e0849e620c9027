import { Word64 } from './word64.ts'

type Half = readonly [high: number, low: number]
const p1: Half = [0x9e3779b1, 0x85ebca87]
const p2: Half = [0xc2b2ae3d, 0x27d4eb4f]
const p3: Half = [0x165667b1, 0x9e3779f9]
const p4: Half = [0x85ebca77, 0xc2b2ae63]
const p5: Half = [0x27d4eb2f, 0x165667c5]

const round = (lane: Word64, input: Word64): Word64 => {
  input.multiply(...p2)
  return lane
    .add(input.high, input.low)
    .rotateLeft(31)
    .multiply(...p1)
}
const merge = (hash: Word64, lane: Word64, input: Word64): Word64 => {
  round(input.set(0, 0), lane)
  return hash
    .xor(input.high, input.low)
    .multiply(...p1)
    .add(...p4)
}

/** Of as many bytes as there are, by 32; the others follow. */
function ofStripes(bytes: Buffer, length: number, seed: number): Word64 {
  const start = (): Word64 => new Word64().set(0, seed)
  const lanes = [
    start()
      .add(...p1)
      .add(...p2),
    start().add(...p2),
    start(),
    // 2^64 less is the same.
    start().add(~p1[0], ~p1[1]).add(0, 1),
  ]
  const input = new Word64()
  for (let at = 0; at + 32 <= length; at += 32)
    for (const [i, lane] of lanes.entries())
      round(lane, input.set(bytes.readUInt32LE(at + 8 * i + 4), bytes.readUInt32LE(at + 8 * i)))
  const hash = new Word64()
  for (const [i, bits] of [1, 7, 12, 18].entries()) {
    const lane = lanes[i] ?? start()
    input.set(lane.high, lane.low).rotateLeft(bits)
    hash.add(input.high, input.low)
  }
  for (const lane of lanes) merge(hash, lane, input)
  return hash
}

/** xxHash64 of the first `length` bytes, by which Envoy's hashing balancers choose. */
export function xxhash64Word(bytes: Buffer, length = bytes.length, seed = 0): Word64 {
  const hash = length >= 32 ? ofStripes(bytes, length, seed) : new Word64().set(0, seed).add(...p5)
  hash.add(0, length)
  const [input, lane] = [new Word64(), new Word64()]
  let at = length - (length % 32)
  for (; at + 8 <= length; at += 8) {
    round(lane.set(0, 0), input.set(bytes.readUInt32LE(at + 4), bytes.readUInt32LE(at)))
    hash
      .xor(lane.high, lane.low)
      .rotateLeft(27)
      .multiply(...p1)
      .add(...p4)
  }
  if (at + 4 <= length) {
    input.set(0, bytes.readUInt32LE(at)).multiply(...p1)
    hash
      .xor(input.high, input.low)
      .rotateLeft(23)
      .multiply(...p2)
      .add(...p3)
    at += 4
  }
  for (; at < length; at++) {
    input.set(0, bytes[at] ?? 0).multiply(...p5)
    hash
      .xor(input.high, input.low)
      .rotateLeft(11)
      .multiply(...p1)
  }
  return hash
    .xorShifted(33)
    .multiply(...p2)
    .xorShifted(29)
    .multiply(...p3)
    .xorShifted(32)
}

/** The same of a text, as one number. */
export const xxhash64 = (text: string, seed = 0): bigint =>
  xxhash64Word(Buffer.from(text), undefined, seed).value
