import { type Answer, decode, encode, type Packet, RECURSION_DESIRED } from 'dns-packet'
import { parseQuery, type Query } from '../../../ztunnel/dns/message.ts'

type QuestionDraft = Readonly<{
  name: string
  type?: string
  id?: number
  flags?: number
  /** An OPT record with this payload. */
  payload?: number
  dnssec?: boolean
  version?: number
}>

/** An OPT record, as the other codec wants it. */
const opt = ({ payload = 1232, dnssec = false, version = 0 }: Partial<QuestionDraft>): Answer => ({
  type: 'OPT',
  name: '.',
  udpPayloadSize: payload,
  extendedRcode: 0,
  ednsVersion: version,
  flags: dnssec ? 0x8000 : 0,
  flag_do: dnssec,
  options: [],
})

/** A client's message, written by another implementation than the one under test. */
export function question(draft: QuestionDraft): Buffer {
  const { name, type = 'A', id = 0x1234, flags = RECURSION_DESIRED } = draft
  const edns = draft.payload !== undefined || draft.dnssec || draft.version !== undefined
  return encode({
    type: 'query',
    id,
    flags,
    questions: [{ name, type: type as 'A', class: 'IN' }],
    additionals: edns ? [opt(draft)] : [],
  })
}

/** As the proxy reads it. */
export function queryOf(draft: QuestionDraft): Query {
  const parsed = parseQuery(question(draft))
  if (parsed.kind !== 'query') throw new Error(`not a query: ${JSON.stringify(parsed)}`)
  return parsed.query
}

/** An upstream's answer to `asked`. */
export function response(asked: Buffer, rest: Partial<Packet>): Buffer {
  const { id = 0, questions = [] } = decode(asked)
  return encode({ type: 'response', id, questions, ...rest })
}

export const a = (name: string, data: string, ttl = 60): Answer => ({
  type: 'A',
  class: 'IN',
  name,
  data,
  ttl,
})

/** What matters of a message, read by another implementation. */
export function read(bytes: Buffer | undefined) {
  if (!bytes) throw new Error('no message')
  const packet = decode(bytes)
  const text = (record: Answer) =>
    `${record.name} ${record.type} ${'data' in record ? (typeof record.data === 'string' ? record.data : JSON.stringify(record.data)) : ''}`.trim()
  const flag = (name: string) => Reflect.get(packet, name) === true
  return {
    id: packet.id,
    rcode: bytes.readUInt16BE(2) & 15,
    aa: flag('flag_aa'),
    tc: flag('flag_tc'),
    ra: flag('flag_ra'),
    rd: flag('flag_rd'),
    ad: flag('flag_ad'),
    cd: flag('flag_cd'),
    question: packet.questions?.[0],
    answers: (packet.answers ?? []).map(text),
    authorities: (packet.authorities ?? []).map(text),
    additionals: (packet.additionals ?? []).filter(({ type }) => type !== 'OPT').map(text),
    opt: (packet.additionals ?? []).find(({ type }) => type === 'OPT'),
    bytes: bytes.length,
  }
}
