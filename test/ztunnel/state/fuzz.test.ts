import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { ip, parseAddress, parseIp } from '#base'
import { parseSpiffeId } from '#identity'
import { addressHandler, MeshState, resolveInbound, resolveOutbound } from '../../../ztunnel/state/index.ts'
import { workloadResource } from '../../fakes/mesh.ts'

const corpus = readFileSync('test/corpus/addresses/resources.txt', 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => Buffer.from(line, 'hex'))

/** What is done to a seed, one after the other. */
type Change =
  | { kind: 'set'; at: number; byte: number }
  | { kind: 'cut'; at: number; length: number }
  | { kind: 'insert'; at: number; bytes: Uint8Array }
  | { kind: 'splice'; other: number; at: number; from: number }
const place = fc.nat(65_535)
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), at: place, byte: fc.nat(255) }),
  fc.record({ kind: fc.constant('cut' as const), at: place, length: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ kind: fc.constant('insert' as const), at: place, bytes: fc.uint8Array({ maxLength: 12 }) }),
  fc.record({ kind: fc.constant('splice' as const), other: fc.nat(99), at: place, from: place }),
)
const mutants = fc
  .tuple(fc.nat(corpus.length - 1), fc.array(change, { maxLength: 4 }))
  .map(([seed, changes]) => changes.reduce(applied, corpus[seed] ?? Buffer.alloc(0)))

function applied(bytes: Buffer, what: Change): Buffer {
  const at = bytes.length === 0 ? 0 : what.at % bytes.length
  if (what.kind === 'set') {
    const changed = Buffer.from(bytes)
    changed[at] = what.byte
    return changed
  }
  if (what.kind === 'cut') return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + what.length)])
  if (what.kind === 'insert') return Buffer.concat([bytes.subarray(0, at), what.bytes, bytes.subarray(at)])
  const other = corpus[what.other % corpus.length] ?? bytes
  return Buffer.concat([bytes.subarray(0, at), other.subarray(what.from % Math.max(other.length, 1))])
}

const isPort = (port: number, least: number) => Number.isInteger(port) && port >= least && port <= 65_535

/** What must be true of every row, whatever was sent. */
function check(state: MeshState): void {
  const expect = (holds: boolean, what: string) => {
    if (!holds) throw new Error(what)
  }
  for (const w of state.workloads()) {
    expect(w.uid !== '', 'a uid')
    expect(parseSpiffeId(w.identity) === w.identity, `an identity: ${w.identity}`)
    expect(
      w.addresses.every((address) => parseIp(address) === address),
      'addresses',
    )
    expect(
      Number.isInteger(w.capacity) && w.capacity >= 0 && w.capacity < 2 ** 32,
      `a capacity: ${w.capacity}`,
    )
    for (const ports of w.services.values())
      for (const [from, to] of ports) expect(isPort(from, 1) && isPort(to, 0), `ports: ${from} ${to}`)
    for (const gateway of [w.waypoint, w.networkGateway])
      expect(!gateway || isPort(gateway.port, 1), 'a gateway')
    expect(w.applicationTunnel?.port === undefined || isPort(w.applicationTunnel.port, 1), 'a tunnel')
  }
  for (const s of state.services()) {
    expect(s.key === `${s.namespace}/${s.hostname}` && !s.hostname.includes('/'), `a key: ${s.key}`)
    for (const { cidr } of s.cidrVips)
      expect(cidr.length >= 0 && cidr.length <= cidr.bytes.length * 8, 'a block')
    for (const [from, to] of s.ports) expect(isPort(from, 1) && isPort(to, 0), `ports: ${from} ${to}`)
    expect(
      s.weightedWaypoints.every(({ weight }) => weight >= 0 && weight < 2 ** 32),
      'weights',
    )
  }
}

const places = [
  '10.96.0.1:80',
  '10.97.1.1:443',
  '[fd96::1]:80',
  '10.0.0.1:15008',
  '10.0.0.1:80',
  '1.1.1.1:80',
]
const authorities = ['web.demo.svc.cluster.local:80', '10.96.0.1:80', '10.0.0.7:80']

t.test(
  'whatever bytes come: nothing throws, every row is sound, every route can be asked for (20 000)',
  async (t) => {
    const state = new MeshState('n1')
    const handler = addressHandler(state)
    const client = workloadResource({ name: 'client', node: 'n1', addresses: ['10.0.0.7'] })
    const [[name, resource] = []] = Object.entries(client)
    if (name === undefined || !resource) throw new Error('no client')
    let taken = 0
    let refused = 0
    let round = 0
    fc.assert(
      fc.property(mutants, (bytes) => {
        if (round++ % 200 === 0)
          handler.apply(
            [{ name, version: '1', bytes: resource.bytes }],
            [...state.workloads()].map(({ uid }) => uid).filter((uid) => uid !== name),
          )
        const rejected = handler.apply([{ name: 'x', version: '', bytes }], [])
        for (const { name: of, reason } of rejected)
          if (of !== 'x' || reason === '') throw new Error('no reason')
        if (rejected.length > 0) return void refused++
        taken++
        check(state)
        const source = state.localWorkload({ name: 'client', namespace: 'demo', serviceAccount: 'client' })
        if (!source) return // a mutant of the client itself has no such name
        const question = { source, sourceIp: ip('10.0.0.7'), network: '', random: Math.random }
        for (const to of places)
          resolveOutbound(state, question, parseAddress(to) ?? { address: ip('::'), port: 1 })
        const inbound = { local: source, podIp: ip('10.0.0.7'), network: '' }
        for (const authority of authorities) resolveInbound(state, inbound, authority)
      }),
      { numRuns: 20_000, seed: 20_267 },
    )
    t.comment(JSON.stringify({ taken, refused }))
    t.ok(taken > 2_000 && refused > 2_000, `${taken} were taken, ${refused} refused`)
  },
)

t.test('the seeds are what they seem', async (t) => {
  const state = new MeshState('n1')
  const rejected = corpus.map((bytes, n) =>
    addressHandler(state)
      .apply([{ name: `${n}`, version: '', bytes }], [])
      .map(({ name }) => name),
  )
  t.same(rejected.slice(0, 5).flat(), [], 'the good ones')
  t.same(rejected.slice(5).flat(), ['5', '6', '7', '8', '9', '10'], 'the bad ones')
  check(state)
})
