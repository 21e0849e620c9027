import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type Packet,
  type Question,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet'
import { unreachable } from '#base'
import type { DnsRecord, Found, Resolve } from './dns-zone.ts'

/** As short as CoreDNS' default for the cluster's zone: Services come and go. */
const ttl = 5
/** What fits unfragmented everywhere (DNS flag day 2020); the most that UDP answers with, whatever a client offers. */
const maxUdpBytes = 1232
const plainUdpBytes = 512
/** Aliases that point to aliases, at most. */
const maxAliases = 5
const rcodes = { ok: 0, formatError: 1, noSuchName: 3, notImplemented: 4, refused: 5 } as const

export type AnswerOptions = Readonly<{
  resolve: Resolve
  domain: string
  transport: 'udp' | 'tcp'
  /** In [0, 1): where lists of addresses start. */
  random?: () => number
}>

/** The answer to one message; undefined for what is no question at all. Never throws, whatever the bytes are. */
export function answerQuery(message: Buffer, options: AnswerOptions): Buffer | undefined {
  // Less than a header has no ID to answer to; answering answers would let two servers talk for ever.
  if (message.length < 12 || ((message[2] ?? 0) & 0x80) !== 0) return undefined
  const query = parse(message)
  if (query === undefined) return bare(message, rcodes.formatError)
  if (((message[2] ?? 0) & 0x78) !== 0) return bare(message, rcodes.notImplemented)
  const [question, ...more] = query.questions ?? []
  if (!question || more.length > 0) return bare(message, rcodes.formatError)
  try {
    return fitted(query, question, respond(question, options), options)
  } catch {
    return bare(message, rcodes.formatError) // a name that cannot be written again
  }
}

function parse(message: Buffer): Packet | undefined {
  try {
    return decode(message)
  } catch {
    return undefined
  }
}

/** A header alone, for what we cannot or do not want to repeat. */
function bare(message: Buffer, rcode: number): Buffer {
  const answer = Buffer.alloc(12)
  message.copy(answer, 0, 0, 2)
  answer[2] = 0x80 | ((message[2] ?? 0) & 0x79)
  answer[3] = rcode
  return answer
}

type Response = Readonly<{
  rcode: number
  answers: readonly Answer[]
  additionals: readonly Answer[]
  soa: boolean
}>

function respond(
  { name, type, class: dnsClass }: Question,
  { resolve, random = Math.random }: AnswerOptions,
): Response {
  const none = { answers: [], additionals: [], soa: false }
  if (dnsClass !== undefined && dnsClass !== 'IN') return { ...none, rcode: rcodes.refused }
  const first = resolve(name)
  if (first.kind === 'elsewhere') return { ...none, rcode: rcodes.refused }
  if (first.kind === 'no-such-name') return { ...none, rcode: rcodes.noSuchName, soa: true }
  const answers = rotate(follow(name, type, first, resolve), random)
  const additionals = answers.flatMap((answer) =>
    answer.type === 'SRV' ? addressesOf(answer.data.target, resolve) : [],
  )
  return { rcode: rcodes.ok, answers, additionals, soa: answers.length === 0 }
}

/** The records asked for, and through aliases those of what they stand for, as far as that is ours. */
function follow(name: string, type: string, first: Found, resolve: Resolve): readonly Answer[] {
  const answers: Answer[] = []
  let at = name
  let here = first
  for (let hops = 0; hops <= maxAliases && here.kind === 'name'; hops++) {
    const { records } = here
    const alias = records.filter((record) => record.type === 'CNAME')[0]
    if (!alias || type === 'CNAME') {
      const wanted = records.filter((record) => record.type === type || type === 'ANY')
      return [...answers, ...wanted.map((record) => answerOf(at, record))]
    }
    answers.push(answerOf(at, alias))
    at = alias.data
    here = resolve(at)
  }
  return answers
}

function addressesOf(name: string, resolve: Resolve): readonly Answer[] {
  const there = resolve(name)
  if (there.kind !== 'name') return []
  return there.records
    .filter((record) => record.type === 'A' || record.type === 'AAAA')
    .map((record) => answerOf(name, record))
}

function answerOf(name: string, record: DnsRecord): Answer {
  const head = { name, ttl, class: 'IN' } as const
  switch (record.type) {
    case 'A':
      return { ...head, type: 'A', data: record.data }
    case 'AAAA':
      return { ...head, type: 'AAAA', data: record.data }
    case 'CNAME':
      return { ...head, type: 'CNAME', data: record.data }
    case 'PTR':
      return { ...head, type: 'PTR', data: record.data }
    case 'TXT':
      return { ...head, type: 'TXT', data: record.data }
    case 'SRV':
      return { ...head, type: 'SRV', data: record.data }
    default:
      return unreachable(record)
  }
}

/** Another first address each time, so that clients that take the first one spread. An alias stays in front. */
function rotate(answers: readonly Answer[], random: () => number): readonly Answer[] {
  const start = answers.findIndex(({ type }) => type !== 'CNAME')
  if (start < 0) return answers
  const [head, tail] = [answers.slice(0, start), answers.slice(start)]
  const by = Math.floor(random() * tail.length)
  return [...head, ...tail.slice(by), ...tail.slice(0, by)]
}

/** Over UDP an answer that is too long is left out and marked: the client asks again over TCP. */
function fitted(
  query: Packet,
  question: Question,
  response: Response,
  { transport, domain }: AnswerOptions,
): Buffer {
  const opt = query.additionals?.find((record) => record.type === 'OPT')
  const offered = opt?.type === 'OPT' && 'udpPayloadSize' in opt ? Number(opt.udpPayloadSize) : plainUdpBytes
  const limit = transport === 'tcp' ? 65_535 : Math.min(Math.max(offered, plainUdpBytes), maxUdpBytes)
  const edns: readonly Answer[] = opt
    ? [
        {
          type: 'OPT',
          name: '.',
          udpPayloadSize: maxUdpBytes,
          extendedRcode: 0,
          ednsVersion: 0,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ]
    : []
  const flags = AUTHORITATIVE_ANSWER | ((query.flags ?? 0) & RECURSION_DESIRED) | response.rcode
  const base: Packet = { type: 'response', id: query.id ?? 0, flags, questions: [question] }
  const full = encode({
    ...base,
    answers: [...response.answers],
    authorities: response.soa ? [soa(question.name, domain)] : [],
    additionals: [...response.additionals, ...edns],
  })
  if (full.length <= limit) return full
  return encode({ ...base, flags: flags | TRUNCATED_RESPONSE, additionals: [...edns] })
}

/** Says how long "no" may be remembered. */
function soa(name: string, domain: string): Answer {
  const reverse = /(?:^|\.)((?:in-addr|ip6)\.arpa)$/i.exec(name)?.[1]
  const zone = reverse ?? domain
  return {
    type: 'SOA',
    name: zone,
    ttl,
    class: 'IN',
    data: {
      mname: `ns.dns.${zone}`,
      rname: `hostmaster.${zone}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86_400,
      minimum: ttl,
    },
  }
}
