import t from 'tap'
import { decodeTargeted, encodeTargeted } from '#policy'
import { policyResource } from '../../fakes/mesh.ts'

const [{ bytes } = { bytes: new Uint8Array() }] = Object.values(
  policyResource({ name: 'p', action: 'deny', everything: true }),
)
const target = { kind: 'Service', namespace: 'demo', name: 'web' } as const

t.test('a policy with its targets goes over the wire', async (t) => {
  const read = decodeTargeted('demo/p', encodeTargeted(bytes, [target]))
  t.match(read, { authorization: { name: 'demo/p', action: 'deny' }, targets: [target] })
})

const good = JSON.parse(encodeTargeted(bytes, [target]).toString()) as Record<string, unknown>
const bad: [title: string, payload: unknown][] = [
  ['no object', []],
  ['another version', { ...good, version: 2 }],
  ['a part that we do not know', { ...good, unless: 'friday' }],
  ['a target that we do not know', { ...good, targets: [{ ...target, kind: 'Mesh' }] }],
  ['a part of a target that we do not know', { ...good, targets: [{ ...target, sectionName: 'http' }] }],
  ['no policy', { version: 1, targets: [target] }],
  ['no targets', { version: 1, authorization: good['authorization'] }],
]
for (const [title, payload] of bad)
  t.test(`not understood: ${title}`, async (t) => {
    t.match(decodeTargeted('demo/p', Buffer.from(JSON.stringify(payload))), { unreadable: String })
  })

t.test('a policy of which a part cannot be read is there, closed', async (t) => {
  const read = decodeTargeted('demo/p', Buffer.from(JSON.stringify({ ...good, authorization: 'AAAA' })))
  t.ok('unreadable' in read || read.authorization.problems.length > 0)
})
