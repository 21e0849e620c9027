import { type Ip, ipToBytes, isIpv6 } from '#base'
import {
  classes,
  countsOf,
  type Extent,
  flags,
  headerBytes,
  type Query,
  rcodes,
  types,
  walkRecords,
} from './message.ts'
import { writeName } from './names.ts'

/** What we say that we take, and the most that we send over UDP: more would only serve to amplify. */
const maxUdpBytes = 4096
/** What every client takes over UDP (RFC 1035 §4.2.1). */
const plainUdpBytes = 512
const maxTcpBytes = 65_535
/** Long enough to be of use, short enough for services that come and go (ztunnel: 30 s). */
const ttlSeconds = 30
const optBytes = 11

export type Transport = 'udp' | 'tcp'

/** Bytes that this client takes. */
export function limitOf({ edns }: Pick<Query, 'edns'>, transport: Transport): number {
  if (transport === 'tcp') return maxTcpBytes
  return Math.min(Math.max(edns?.payload ?? 0, plainUdpBytes), maxUdpBytes)
}

/** A header alone, for what cannot be repeated. */
export function bareReply(bytes: Buffer, rcode: number): Buffer {
  const reply = Buffer.alloc(headerBytes)
  bytes.copy(reply, 0, 0, 2)
  const kept = bytes.readUInt16BE(2) & (flags.opcode | flags.recursionDesired)
  reply.writeUInt16BE(flags.response | kept | (rcode & flags.rcode), 2)
  return reply
}

/** Question and rcode, no records. */
export const emptyReply = (query: Query, rcode: number, authoritative = false): Buffer =>
  build(query, { rcode, authoritative, records: [], limit: maxTcpBytes })

/** The addresses, behind the alias if there is one. What does not fit is left out and the answer marked so. */
export function addressReply(
  query: Query,
  addresses: readonly Ip[],
  cname: string | undefined,
  limit: number,
): Buffer {
  const { question } = query
  const target = cname === undefined ? undefined : writeName(cname)
  // Owners point to the name in the question, or to the one in the alias record behind it.
  const aliasAt = question.end + 12
  const alias = target ? [record(headerBytes, types.CNAME, target)] : []
  const owner = target ? aliasAt : headerBytes
  const records = addresses.map((address) =>
    record(owner, isIpv6(address) ? types.AAAA : types.A, Buffer.from(ipToBytes(address))),
  )
  return build(query, {
    rcode: rcodes.NOERROR,
    authoritative: true,
    records: [...alias, ...records],
    limit,
  })
}

function record(owner: number, type: number, data: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(12 + data.length)
  bytes.writeUInt16BE(0xc000 | owner, 0)
  bytes.writeUInt16BE(type, 2)
  bytes.writeUInt16BE(classes.IN, 4)
  bytes.writeUInt32BE(ttlSeconds, 6)
  bytes.writeUInt16BE(data.length, 10)
  data.copy(bytes, 12)
  return bytes
}

type Contents = Readonly<{
  rcode: number
  authoritative: boolean
  records: readonly Buffer[]
  limit: number
}>

function build(query: Query, { rcode, authoritative, records, limit }: Contents): Buffer {
  const { bytes, question, edns } = query
  const opt = edns ? [optRecord(rcode, edns.dnssec)] : []
  let room = limit - question.end - opt.length * optBytes
  const fitting = records.filter(({ length }) => (room -= length) >= 0)
  const kept = query.flags & (flags.recursionDesired | flags.checkingDisabled)
  const word =
    flags.response |
    flags.recursionAvailable |
    kept |
    (authoritative ? flags.authoritative : 0) |
    (fitting.length < records.length ? flags.truncated : 0) |
    (rcode & flags.rcode)
  const head = Buffer.from(bytes.subarray(0, question.end))
  head.writeUInt16BE(word, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(fitting.length, 6)
  head.writeUInt16BE(0, 8)
  head.writeUInt16BE(opt.length, 10)
  return Buffer.concat([head, ...fitting, ...opt])
}

function optRecord(rcode: number, dnssec: boolean): Buffer {
  const opt = Buffer.alloc(optBytes)
  opt.writeUInt16BE(types.OPT, 1)
  opt.writeUInt16BE(maxUdpBytes, 3)
  opt[5] = rcode >> 4
  opt[7] = dnssec ? 0x80 : 0
  return opt
}

/**
 * An answer of the same question from elsewhere, as ours: its records stay as they are, in their sections. `exists`:
 * the mesh has addresses for the name, so "no such name" becomes "no such record", or a cache between us and the app
 * would deny the addresses too (RFC 8020).
 */
export function relayedReply(
  query: Query,
  response: Buffer,
  { limit, exists }: Readonly<{ limit: number; exists: boolean }>,
): Buffer {
  const fitting = response.length <= limit ? response : shortened(response, query.question.end, limit)
  const reply = Buffer.from(fitting)
  reply.writeUInt16BE(query.id, 0)
  let word = reply.readUInt16BE(2) & ~flags.authoritative
  if (exists && (word & flags.rcode) === rcodes.NXDOMAIN) word &= ~flags.rcode
  reply.writeUInt16BE(word, 2)
  return reply
}

/** The first records that fit, and the OPT. Marked as cut when an answer or authority is missing, not for mere extras. */
function shortened(response: Buffer, start: number, limit: number): Buffer {
  const { answers, authorities, additionals } = countsOf(response)
  const records = walkRecords(response, start, answers + authorities + additionals) ?? []
  const opt = records.find(({ type }) => type === types.OPT)
  const options = opt ? response.subarray(opt.at, opt.end) : Buffer.alloc(0)
  const room = limit - options.length
  const fits = ({ end }: Extent) => end <= room
  const kept = records.slice(0, answers + authorities).filter(fits)
  const cut = kept.length < answers + authorities
  const extras = cut ? [] : records.slice(answers + authorities).filter((each) => each !== opt && fits(each))
  // Extras behind the OPT would move, and pointers to them with it; those before it stay where they are.
  const still = extras.filter(({ at }) => !opt || at < opt.at)
  const end = (still.at(-1) ?? kept.at(-1))?.end ?? start
  const reply = Buffer.concat([response.subarray(0, end), options])
  if (cut) reply.writeUInt16BE(reply.readUInt16BE(2) | flags.truncated, 2)
  reply.writeUInt16BE(Math.min(kept.length, answers), 6)
  reply.writeUInt16BE(Math.max(kept.length - answers, 0), 8)
  reply.writeUInt16BE(still.length + (opt ? 1 : 0), 10)
  return reply
}
