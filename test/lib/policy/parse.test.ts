import { BinaryWriter } from '@bufbuild/protobuf/wire'
import t from 'tap'
import { ip } from '#base'
import { parseSpiffeId } from '#identity'
import { applicableOf, type Connection, decide, decodeAuthorization, parseAuthorization } from '#policy'
import { security } from '#wire'

const shop: Connection = {
  source: ip('10.0.0.7'),
  peer: parseSpiffeId('spiffe://cluster.local/ns/shop/sa/order'),
  destination: { address: ip('10.0.1.9'), port: 8080 },
}
const emptyMatch = (): security.Match => security.Match.decode(new Uint8Array())
type Draft = {
  action: number
  match?: Partial<security.Match>
  scope?: number
  dryRun?: boolean
  name?: string
}
const wire = ({ action, match, scope = 1, dryRun = false, name = 'p' }: Draft): security.Authorization => ({
  name,
  namespace: 'demo',
  scope: scope as security.Scope,
  action: action as security.Action,
  rules: [{ clauses: [{ matches: [{ ...emptyMatch(), ...match }] }] }],
  dryRun,
  extensions: [],
})
const verdict = (encoded: Uint8Array) => {
  const policy = decodeAuthorization('demo/p', encoded)
  return { ...decide(applicableOf([policy]), shop), problems: policy.problems.length }
}
const encode = (message: security.Authorization) => security.Authorization.encode(message).finish()
const text = (value: string): security.StringMatch => ({ matchType: { $case: 'exact', value } })

const garbage: [string, Partial<security.Match>][] = [
  ['a string match without kind', { namespaces: [{ matchType: undefined }] }],
  ['one bad string match beside a good one', { namespaces: [text('shop'), { matchType: undefined }] }],
  ['a negated string match without kind', { notPrincipals: [{ matchType: undefined }] }],
  ['an address of 3 bytes', { sourceIps: [{ address: Buffer.from([10, 0, 0]), length: 8 }] }],
  ['a block longer than its address', { sourceIps: [{ address: Buffer.from([10, 0, 0, 7]), length: 33 }] }],
  ['a negated block of no bytes', { notSourceIps: [{ address: Buffer.alloc(0), length: 0 }] }],
  ['a port beyond 65535', { destinationPorts: [8080, 65_536 + 8080] }],
  ['a negated port of 0', { notDestinationPorts: [0] }],
  ['a service account without name', { serviceAccounts: [{ namespace: 'shop', serviceAccount: '' }] }],
  ['an extension', { namespaces: [text('shop')], extensions: [{ name: 'x', config: undefined }] }],
]
for (const [name, match] of garbage) {
  t.test(`${name} closes: an ALLOW matches nothing, a DENY everything`, async (t) => {
    t.match(verdict(encode(wire({ action: 0, match }))), {
      verdict: 'deny',
      by: 'nothing-allowed',
      problems: 1,
    })
    t.match(verdict(encode(wire({ action: 1, match }))), { verdict: 'deny', by: 'demo/p', problems: 1 })
  })
}

const withUnknownField = (message: security.Authorization, where: 'policy' | 'rule' | 'clause' | 'match') => {
  const unknown = new BinaryWriter()
    .uint32((99 << 3) | 2)
    .string('new')
    .finish()
  const wrap = (field: number, inner: Uint8Array, spoil: boolean) =>
    new BinaryWriter()
      .uint32((field << 3) | 2)
      .bytes(spoil ? Buffer.concat([inner, unknown]) : inner)
      .finish()
  const match = message.rules[0]?.clauses[0]?.matches[0] ?? emptyMatch()
  const clause = wrap(2, security.Match.encode(match).finish(), where === 'match')
  const rule = wrap(1, clause, where === 'clause')
  const rules = wrap(5, rule, where === 'rule')
  const head = encode({ ...message, rules: [] })
  return Buffer.concat([head, rules, ...(where === 'policy' ? [unknown] : [])])
}
for (const where of ['policy', 'rule', 'clause', 'match'] as const) {
  t.test(`a field unknown to this version in the ${where} closes`, async (t) => {
    const match = { namespaces: [text('shop')] }
    t.match(verdict(withUnknownField(wire({ action: 0, match }), where)), {
      by: 'nothing-allowed',
      problems: 1,
    })
    const miss = { namespaces: [text('bank')] }
    t.match(verdict(withUnknownField(wire({ action: 1, match: miss }), where)), { by: 'demo/p', problems: 1 })
  })
}

t.test('a readable policy has no problems and does what it says', async (t) => {
  const match = { namespaces: [text('shop')], destinationPorts: [8080] }
  t.match(verdict(encode(wire({ action: 0, match }))), { verdict: 'allow', by: 'demo/p', problems: 0 })
  t.match(verdict(encode(wire({ action: 1, match }))), { verdict: 'deny', by: 'demo/p', problems: 0 })
})

t.test('an unknown action denies, an unknown scope allows nothing', async (t) => {
  const match = { namespaces: [text('shop')] }
  t.match(verdict(encode(wire({ action: 7, match }))), { verdict: 'deny', by: 'demo/p' })
  t.match(verdict(encode(wire({ action: 0, match, scope: 9 }))), { verdict: 'deny', by: 'nothing-allowed' })
  t.match(verdict(encode(wire({ action: 1, match, scope: 9 }))), { verdict: 'deny', by: 'demo/p' })
})

t.test('bytes that are no policy, or another policy, deny in the namespace of their name', async (t) => {
  for (const encoded of [Buffer.from([0x2a, 0xff, 0x01]), encode(wire({ action: 0, name: 'other' }))]) {
    const policy = decodeAuthorization('demo/p', encoded)
    t.match(policy, { name: 'demo/p', namespace: 'demo', scope: 'namespace', action: 'deny' })
    t.equal(decide(applicableOf([policy]), shop).verdict, 'deny')
    t.equal(policy.problems.length, 1)
  }
})

t.test('an IPv4-mapped block is the IPv4 block', async (t) => {
  const address = Buffer.concat([Buffer.alloc(10), Buffer.from([255, 255, 10, 0, 0, 0])])
  const match = { sourceIps: [{ address, length: 96 + 24 }] }
  t.match(verdict(encode(wire({ action: 0, match }))), { verdict: 'allow', problems: 0 })
})

t.test('a policy without a usable name is rejected', async (t) => {
  t.ok('reject' in parseAuthorization({ ...wire({ action: 0 }), name: '' }))
})
