import t from 'tap'
import { Ejections } from '../../../ztunnel/proxy/ejections.ts'
import type { WorkloadUid } from '../../../ztunnel/state/index.ts'

const uid = (n: number | string) => `w${n}` as WorkloadUid

t.test('an endpoint that failed is remembered for ten seconds, or until it answers', async (t) => {
  let now = 0
  const ejections = new Ejections(() => now)
  t.equal(ejections.current().size, 0)
  ejections.eject(uid('a'))
  now = 5_000
  ejections.eject(uid('b'))
  t.same([...ejections.current()], ['wa', 'wb'])
  now = 10_001
  t.same([...ejections.current()], ['wb'])
  ejections.restore(uid('b'))
  t.equal(ejections.current().size, 0)
  ejections.restore(uid('never'))
})

t.test('one that fails again is remembered from then on', async (t) => {
  let now = 0
  const ejections = new Ejections(() => now)
  ejections.eject(uid('a'))
  now = 4_000
  ejections.eject(uid('b'))
  now = 8_000
  ejections.eject(uid('a'))
  now = 14_500
  t.same([...ejections.current()], ['wa'], 'in the order of their ends')
})

t.test('never more than 256, the oldest gives way', async (t) => {
  const ejections = new Ejections(() => 0)
  for (let n = 0; n < 1_000; n++) ejections.eject(uid(n))
  const current = ejections.current()
  t.equal(current.size, 256)
  t.ok(current.has(uid(999)))
  t.notOk(current.has(uid(743)))
})
