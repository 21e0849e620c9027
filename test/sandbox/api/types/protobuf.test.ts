import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { decodeProtobuf } from '../../../../sandbox/api/types/index.ts'
import '../../../fakes/seed.ts'

const folder = join(import.meta.dirname, 'testdata')
const pairs = readdirSync(folder).filter((file) => file.endsWith('.pb'))

/** One length-delimited field. */
const field = (number: number, bytes: Uint8Array) =>
  Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes])
const varint = (value: number): Buffer =>
  value < 128
    ? Buffer.from([value])
    : Buffer.concat([Buffer.from([(value & 127) | 128]), varint(value >>> 7)])
const envelope = (apiVersion: string, kind: string, raw: Uint8Array) =>
  Buffer.concat([
    Buffer.from('k8s\0'),
    field(1, Buffer.concat([field(1, Buffer.from(apiVersion)), field(2, Buffer.from(kind))])),
    field(2, raw),
  ])

for (const file of pairs)
  t.test(`${file} of Kubernetes' own test data decodes to its JSON twin`, async (t) => {
    const decoded = decodeProtobuf(readFileSync(join(folder, file)))
    if ('reject' in decoded) return t.fail(decoded.reject)
    t.strictSame(decoded.object, JSON.parse(readFileSync(join(folder, file.replace(/pb$/, 'json')), 'utf8')))
  })

t.test('zero values that Go puts on the wire but omits from JSON are omitted', async (t) => {
  const port = Buffer.concat([field(1, Buffer.from('')), Buffer.from([0x10, 0, 0x18, 80])])
  const container = field(2, Buffer.concat([field(1, Buffer.from('c')), field(6, port)]))
  const decoded = decodeProtobuf(envelope('v1', 'Pod', field(2, container)))
  t.match(decoded, { object: { spec: { containers: [{ name: 'c', ports: [{ containerPort: 80 }] }] } } })
  t.notMatch(decoded, { object: { spec: { containers: [{ ports: [{ hostPort: 0 }] }] } } })
})

const refused: [string, Uint8Array, RegExp][] = [
  ['JSON', Buffer.from('{"kind":"Pod"}'), /expected prefix/],
  ['an empty body', new Uint8Array(), /expected prefix/],
  ['a kind that has no message', envelope('v1', 'Nonsense', new Uint8Array()), /no kind "Nonsense"/],
  ['a kind named like an inherited property', envelope('v1', 'constructor', new Uint8Array()), /no kind/],
  [
    'an envelope that ends in the middle',
    Buffer.concat([Buffer.from('k8s\0'), Buffer.from([10, 200])]),
    /decoded/,
  ],
  ['a string where a message belongs', envelope('v1', 'Pod', Buffer.from([0x10, 5])), /decoded/],
  ['field number 0', envelope('v1', 'Pod', Buffer.from([0, 1])), /decoded/],
]
for (const [name, bytes, reason] of refused)
  t.test(`${name} is rejected with a reason`, async (t) => {
    t.match(decodeProtobuf(bytes), { reject: reason })
  })

t.test('a schema nested hundreds of levels deep is rejected, not recursed into', async (t) => {
  let schema: Uint8Array = new Uint8Array()
  for (let i = 0; i < 300; i++) schema = field(28, schema) // not: { not: { … } }
  const version = field(4, field(1, schema))
  const decoded = decodeProtobuf(
    envelope('apiextensions.k8s.io/v1', 'CustomResourceDefinition', field(2, field(7, version))),
  )
  t.match(decoded, { reject: /nested too deeply/ })
})

t.test('a map key __proto__ makes no prototype', async (t) => {
  const entry = Buffer.concat([field(1, Buffer.from('__proto__')), field(2, Buffer.from('x'))])
  const decoded = decodeProtobuf(envelope('v1', 'ConfigMap', field(2, entry)))
  if ('reject' in decoded) return t.fail(decoded.reject)
  t.strictSame(decoded.object['data'], {})
})

t.test('no bytes make it throw', async (t) => {
  const valid = readFileSync(join(folder, 'core.v1.Pod.pb'))
  fc.assert(
    fc.property(fc.nat(valid.length - 1), fc.uint8Array({ maxLength: 6 }), (at, noise) => {
      const broken = Buffer.from(valid)
      broken.set(noise.subarray(0, valid.length - at), at)
      decodeProtobuf(broken)
      decodeProtobuf(broken.subarray(0, at))
    }),
    { numRuns: 300 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (raw) => {
      const decoded = decodeProtobuf(envelope('apps/v1', 'Deployment', raw))
      return 'reject' in decoded || decoded.kind === 'Deployment'
    }),
    { numRuns: 500 },
  )
  t.pass('all answered')
})
