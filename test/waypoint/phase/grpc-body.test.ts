import t from 'tap'
import type { Body, BodyReader } from '#http'
import { GrpcBody } from '../../../waypoint/phase/grpc-body.ts'

const message = (length: number) => {
  const bytes = Buffer.alloc(5 + length, 7)
  bytes[0] = 0
  bytes.writeUInt32BE(length, 1)
  return bytes
}

/** What a watched body passes on and counts of `bytes` in pieces of `size`. */
function watched(bytes: Buffer, size: number) {
  let reader: BodyReader | undefined
  const body: Body = {
    length: undefined,
    received: 0,
    read: (one) => (reader = one),
    resume: () => undefined,
    discard: () => undefined,
  }
  const got: Buffer[] = []
  const counting = new GrpcBody(body)
  counting.read({
    bytes: (buffer, start, end) => got.push(Buffer.from(buffer.subarray(start, end))) > 0,
    end: () => undefined,
    broken: () => undefined,
  })
  for (let at = 0; at < bytes.length; at += size) reader?.bytes(bytes, at, Math.min(bytes.length, at + size))
  return { messages: counting.messages, same: Buffer.concat(got).equals(bytes) }
}

t.test('messages are counted however their bytes come, and passed on as they are', async (t) => {
  const lengths = [0, 1, 300, 0, 0, 70_000, 5]
  const bytes = Buffer.concat(lengths.map(message))
  for (const size of [1, 2, 4, 5, 6, 7, 299, 4_096, bytes.length])
    t.strictSame(watched(bytes, size), { messages: lengths.length, same: true }, `pieces of ${size}`)
})

t.test('a message is counted once its length is known, whatever that is', async (t) => {
  t.equal(watched(Buffer.from([0, 0, 0, 0]), 1).messages, 0)
  t.equal(watched(Buffer.from([0, 255, 255, 255, 255, 1, 2, 3]), 1).messages, 1)
})
