import { readName, skipName } from './names.ts'

/** Numbers of the record types that mean something here (RFC 1035 §3.2.2, RFC 3596, RFC 6891). */
export const types = { A: 1, CNAME: 5, AAAA: 28, OPT: 41 } as const
export const classes = { IN: 1 } as const
export const rcodes = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const
/** Bits of the second 16-bit word of a message. */
export const flags = {
  response: 0x8000,
  opcode: 0x7800,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  checkingDisabled: 0x0010,
  rcode: 0x000f,
} as const

export const headerBytes = 12
/** A question has one name and few options; nobody needs more. */
const maxQueryBytes = 4096
/** Records besides the question in a query: OPT, a signature, some proof of work; more is an attack. */
const maxQueryRecords = 8

type Question = Readonly<{
  /** Lower-case, without the final dot, unusual bytes escaped; '' is the root. */
  name: string
  type: number
  class: number
  /** Where the question ends in its message. */
  end: number
}>

/** The OPT record (RFC 6891). */
type Edns = Readonly<{ at: number; end: number; payload: number; version: number; dnssec: boolean }>

export type Query = Readonly<{
  bytes: Buffer
  id: number
  flags: number
  question: Question
  edns: Edns | undefined
}>

type Parsed =
  | Readonly<{ kind: 'query'; query: Query }>
  /** To be answered with a bare rcode. */
  | Readonly<{ kind: 'bad'; rcode: number; reason: string }>
  /** Not to be answered at all. */
  | Readonly<{ kind: 'no-query'; reason: 'short' | 'response' }>

const bad = (rcode: number, reason: string): Parsed => ({ kind: 'bad', rcode, reason })

/** What a client sent. Never throws, reads every byte at most twice. */
export function parseQuery(bytes: Buffer): Parsed {
  if (bytes.length < headerBytes) return { kind: 'no-query', reason: 'short' }
  const word = bytes.readUInt16BE(2)
  if ((word & flags.response) !== 0) return { kind: 'no-query', reason: 'response' }
  if (bytes.length > maxQueryBytes) return bad(rcodes.FORMERR, 'too long')
  if ((word & flags.opcode) !== 0) return bad(rcodes.NOTIMP, 'not a standard query')
  const counts = countsOf(bytes)
  const others = counts.answers + counts.authorities + counts.additionals
  if (counts.questions !== 1 || others > maxQueryRecords) return bad(rcodes.FORMERR, 'counts')
  const question = readQuestion(bytes)
  if (!question) return bad(rcodes.FORMERR, 'question')
  const records = walkRecords(bytes, question.end, others)
  if (!records) return bad(rcodes.FORMERR, 'records')
  const opts = records.filter(({ type }) => type === types.OPT)
  if (opts.length > 1) return bad(rcodes.FORMERR, 'two OPT records')
  const edns = opts[0] && ednsOf(bytes, opts[0])
  return { kind: 'query', query: { bytes, id: bytes.readUInt16BE(0), flags: word, question, edns } }
}

export const countsOf = (bytes: Buffer) => ({
  questions: bytes.readUInt16BE(4),
  answers: bytes.readUInt16BE(6),
  authorities: bytes.readUInt16BE(8),
  additionals: bytes.readUInt16BE(10),
})

function readQuestion(bytes: Buffer): Question | undefined {
  const read = readName(bytes, headerBytes)
  if (!read || read.end + 4 > bytes.length) return undefined
  const { name, end } = read
  return { name, type: bytes.readUInt16BE(end), class: bytes.readUInt16BE(end + 2), end: end + 4 }
}

/** Where a record starts, and ends, in its message. */
export type Extent = Readonly<{ at: number; end: number; type: number; fields: number }>

/** `count` records from `start`; undefined when they are not there or one is broken. */
export function walkRecords(bytes: Buffer, start: number, count: number): readonly Extent[] | undefined {
  const records: Extent[] = []
  let at = start
  for (let n = 0; n < count; n++) {
    const fields = skipName(bytes, at)
    if (fields < 0 || fields + 10 > bytes.length) return undefined
    const type = bytes.readUInt16BE(fields)
    const end = fields + 10 + bytes.readUInt16BE(fields + 8)
    if (end > bytes.length || !hasSoundNames(bytes, type, fields + 10, end)) return undefined
    records.push({ at, end, type, fields })
    at = end
  }
  return records
}

/** Types whose data has names that may use pointers: bytes before the first, and how many (RFC 3597 §4). */
const namesIn: Readonly<Record<number, readonly [number, number]>> = {
  2: [0, 1], // NS
  5: [0, 1], // CNAME
  6: [0, 2], // SOA
  12: [0, 1], // PTR
  15: [2, 1], // MX
  33: [6, 1], // SRV
  39: [0, 1], // DNAME
}

/** A hostile answer must not reach a client whose own parser follows a pointer for ever. */
function hasSoundNames(bytes: Buffer, type: number, start: number, end: number): boolean {
  const [before, count] = namesIn[type] ?? [0, 0]
  let at = start + before
  for (let n = 0; n < count; n++) {
    at = skipName(bytes, at)
    if (at < 0 || at > end) return false
  }
  return true
}

/** The class of an OPT record is the payload, its TTL holds version and flags; its owner is the root, one byte. */
const ednsOf = (bytes: Buffer, { at, end, fields }: Extent): Edns => ({
  at,
  end,
  payload: bytes.readUInt16BE(fields + 2),
  version: bytes[fields + 5] ?? 0,
  dnssec: ((bytes[fields + 6] ?? 0) & 0x80) !== 0,
})
