import { BinaryWriter } from '@bufbuild/protobuf/wire'
import { security } from '#wire'

/** A source of choices that is the same for the same seed. */
export function choices(seed: number) {
  let state = seed >>> 0
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (n: number) => Math.floor(random() * n)
  const pick = <T>(...items: readonly [T, ...T[]]): T => items[below(items.length)] ?? items[0]
  const chance = (p: number) => random() < p
  const some = <T>(make: () => T, p = 0.25, most = 2): T[] =>
    chance(p) ? Array.from({ length: 1 + below(most) }, make) : []
  return { below, pick, chance, some }
}
export type Choices = ReturnType<typeof choices>

const ip4 = (...bytes: number[]) => Buffer.from(bytes)
const mapped = (...bytes: number[]) => Buffer.concat([Buffer.alloc(10), Buffer.from([255, 255, ...bytes])])
const fd00 = (last: number) => Buffer.concat([Buffer.from([0xfd]), Buffer.alloc(14), Buffer.from([last])])

/** Names near to each other: dots, prefixes of each other, empty, a star that is no wildcard, beyond ASCII. */
const part = ({ pick }: Choices) => pick('a', 'a', 'ab', 'b', 'a.b', 'a-b', 'A')
const text = (c: Choices) =>
  c.pick(
    '',
    'a',
    'b',
    'ab',
    'a.b',
    'a*',
    '*',
    'td/ns/a/sa/a',
    'td/ns/a/sa/',
    '/sa/a.b',
    'td',
    'é',
    'é',
    'é',
    'A',
    '/',
  )

export function stringMatch(c: Choices): security.StringMatch {
  const $case = c.pick('exact', 'exact', 'prefix', 'suffix', 'presence')
  return { matchType: $case === 'presence' ? { $case, value: {} } : { $case, value: text(c) } }
}
const block = (c: Choices): security.Address => {
  if (c.chance(0.2)) return { address: fd00(c.pick(1, 2)), length: c.pick(0, 1, 127, 128) }
  if (c.chance(0.1)) return { address: mapped(10, 0, 0, 1), length: c.pick(0, 95, 96, 104, 127, 128) }
  return { address: ip4(c.pick(10, 11), 0, 0, c.pick(1, 2, 3)), length: c.pick(0, 7, 8, 24, 31, 32, 32) }
}
const port = (c: Choices) => c.pick(80, 80, 8080, 1, 65_535)
const account = (c: Choices) => ({ namespace: part(c), serviceAccount: part(c) })

/** What cannot be read, of each kind. */
const spoilers: ((m: security.Match, c: Choices) => security.Match)[] = [
  (m) => ({ ...m, namespaces: [...m.namespaces, { matchType: undefined }] }),
  (m) => ({ ...m, notNamespaces: [{ matchType: undefined }, ...m.notNamespaces] }),
  (m) => ({ ...m, principals: [{ matchType: undefined }] }),
  (m) => ({ ...m, notPrincipals: [...m.notPrincipals, { matchType: undefined }] }),
  (m, c) => ({
    ...m,
    sourceIps: [...m.sourceIps, { address: Buffer.alloc(c.pick(0, 3, 5, 15, 17)), length: 0 }],
  }),
  (m, c) => ({ ...m, notSourceIps: [{ address: ip4(10, 0, 0, 1), length: c.pick(33, 128, 0xffff_ffff) }] }),
  (m) => ({ ...m, destinationIps: [{ address: fd00(1), length: 129 }] }),
  (m, c) => ({ ...m, destinationPorts: [...m.destinationPorts, c.pick(0, 65_536, 65_616, 0xffff_ffff)] }),
  (m) => ({ ...m, notDestinationPorts: [0] }),
  (m) => ({ ...m, serviceAccounts: [{ namespace: 'a', serviceAccount: '' }] }),
  (m) => ({ ...m, notServiceAccounts: [{ namespace: '', serviceAccount: 'a' }] }),
  (m) => ({ ...m, extensions: [{ name: 'x', config: undefined }] }),
]
export const spoil = (m: security.Match, c: Choices): security.Match =>
  (spoilers[c.below(spoilers.length)] ?? ((same) => same))(m, c)

export const match = (c: Choices): security.Match => ({
  namespaces: c.some(() => stringMatch(c)),
  notNamespaces: c.some(() => stringMatch(c), 0.1),
  principals: c.some(() => stringMatch(c)),
  notPrincipals: c.some(() => stringMatch(c), 0.1),
  sourceIps: c.some(() => block(c), 0.2, 4),
  notSourceIps: c.some(() => block(c), 0.1),
  destinationIps: c.some(() => block(c), 0.15),
  notDestinationIps: c.some(() => block(c), 0.1),
  destinationPorts: c.some(() => port(c)),
  notDestinationPorts: c.some(() => port(c), 0.1),
  serviceAccounts: c.some(() => account(c), 0.15),
  notServiceAccounts: c.some(() => account(c), 0.1),
  extensions: [],
})
const clause = (c: Choices): security.Clause => ({
  matches: c.chance(0.08) ? [] : Array.from({ length: 1 + c.below(2) }, () => match(c)),
})
const rule = (c: Choices): security.Rule => ({
  clauses: c.chance(0.08) ? [] : Array.from({ length: 1 + c.below(2) }, () => clause(c)),
})
export const policy = (c: Choices): security.Authorization => ({
  name: c.pick('p', 'q', 'r'),
  namespace: c.pick('demo', 'demo', 'demo', 'other'),
  scope: c.pick(0, 1, 1, 1, 2),
  action: c.pick(0, 1),
  rules: c.chance(0.1) ? [] : Array.from({ length: 1 + c.below(2) }, () => rule(c)),
  dryRun: c.chance(0.15),
  extensions: [],
})

export const call = (c: Choices) => ({
  source: c.pick('10.0.0.1', '10.0.0.2', '11.0.0.1', 'fd00::1', 'fd00::2', '255.255.255.255', '::1'),
  peer: c.chance(0.25)
    ? undefined
    : `spiffe://${c.pick('td', 'td', 'cluster.local')}/ns/${part(c)}/sa/${part(c)}`,
  address: c.pick('10.0.0.1', '10.0.0.3', 'fd00::2'),
  port: c.pick(80, 8080, 1, 65_535),
})
export const workload = (c: Choices) => ({
  namespace: c.pick('demo', 'demo', 'demo', 'other'),
  policies: [...new Set(c.some(() => `demo/${c.pick('p', 'q', 'r', 'r')}`, 0.5))],
})

export const encode = (p: security.Authorization): Uint8Array => security.Authorization.encode(p).finish()

/** A resource as a newer, a broken or a hostile control plane might send it. */
export function mutate(bytes: Uint8Array, c: Choices): Uint8Array {
  const at = c.below(bytes.length + 1)
  const kind = c.below(9)
  const copy = Buffer.from(bytes)
  if (kind === 0) return copy.subarray(0, at)
  if (kind === 1) return Buffer.concat([copy, unknown(c)])
  if (kind === 2) return Buffer.concat([copy.subarray(0, at), unknown(c), copy.subarray(at)])
  if (kind === 3) return Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1 + c.below(4))])
  if (kind === 4) copy[at] = c.below(256)
  else if (kind === 5) copy[at] = 0
  else if (kind >= 7)
    for (const [i, byte] of copy.entries()) copy[i] = byte === 0xc3 ? 0xff : byte // no UTF-8
  else copy[at] = (copy[at] ?? 0) ^ (1 << c.below(8))
  return copy
}

/** A field that this version does not know, of every wire type. */
function unknown(c: Choices): Uint8Array {
  const number = c.pick(7, 8, 13, 15, 16, 99, 536_870_911)
  const type = c.pick(0, 1, 2, 3, 5)
  const writer = new BinaryWriter().uint32(((number << 3) | type) >>> 0)
  if (type === 0) writer.uint32(c.below(300))
  if (type === 1) writer.raw(Buffer.alloc(8))
  if (type === 2) writer.string('new')
  if (type === 3)
    writer
      .uint32(8)
      .uint32(1)
      .uint32(((number << 3) | 4) >>> 0)
  if (type === 5) writer.raw(Buffer.alloc(4))
  return writer.finish()
}
