import { countsOf, flags, headerBytes, type Query, rcodes, walkRecords } from './message.ts'

/** What an upstream said to the question that we asked it. */
type Response =
  | Readonly<{ kind: 'response'; bytes: Buffer; rcode: number; truncated: boolean }>
  /** Not an answer to this question: somebody else's, an old one, or a guess. */
  | Readonly<{ kind: 'stray'; reason: 'id' | 'header' | 'question' }>
  | Readonly<{ kind: 'broken' }>

/** Judges bytes that came from the server which was asked; `id` is the one that it was asked with. */
export function parseResponse(bytes: Buffer, query: Query, id: number): Response {
  if (bytes.length < headerBytes || bytes.readUInt16BE(0) !== id) return { kind: 'stray', reason: 'id' }
  const word = bytes.readUInt16BE(2)
  if ((word & flags.response) === 0 || (word & flags.opcode) !== 0) return { kind: 'stray', reason: 'header' }
  const rcode = word & flags.rcode
  const { questions, answers, authorities, additionals } = countsOf(bytes)
  // Some servers send a bare header for what they do not understand.
  if (questions === 0 && bytes.length === headerBytes && rcode !== rcodes.NOERROR)
    return { kind: 'response', bytes: onlyQuestion(bytes, query), rcode, truncated: false }
  if (questions !== 1 || !sameQuestion(bytes, query)) return { kind: 'stray', reason: 'question' }
  const truncated = (word & flags.truncated) !== 0
  const records = walkRecords(bytes, query.question.end, answers + authorities + additionals)
  // Some servers cut in the middle of a record: all that such an answer says is that there is more.
  if (!records && truncated) return { kind: 'response', bytes: onlyQuestion(bytes, query), rcode, truncated }
  if (!records) return { kind: 'broken' }
  const end = records.at(-1)?.end ?? query.question.end
  return { kind: 'response', bytes: bytes.subarray(0, end), rcode, truncated }
}

/** Byte for byte but for the case of letters, which servers may change. */
function sameQuestion(bytes: Buffer, { bytes: asked, question }: Query): boolean {
  if (bytes.length < question.end) return false
  for (let at = headerBytes; at < question.end; at++) {
    const [a, b] = [asked[at] ?? 0, bytes[at] ?? 0]
    const isLetter = (a | 0x20) >= 0x61 && (a | 0x20) <= 0x7a
    if (a !== b && !(isLetter && at < question.end - 4 && (a ^ b) === 0x20)) return false
  }
  return true
}

function onlyQuestion(header: Buffer, { bytes, question }: Query): Buffer {
  const whole = Buffer.concat([header.subarray(0, headerBytes), bytes.subarray(headerBytes, question.end)])
  whole.fill(0, 4, headerBytes)
  whole.writeUInt16BE(1, 4)
  return whole
}
