import t from 'tap'
import { judge, type OwnerState } from '../../../../sandbox/api/gc/index.ts'
import { batches } from '../../../../sandbox/api/gc/batches.ts'
import { Ownership } from '../../../../sandbox/api/gc/ownership.ts'

const object = (owners: OwnerState[], more: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'p',
    ownerReferences: owners.map((state, i) => ({
      apiVersion: 'v1',
      kind: 'X',
      name: state,
      uid: `${state}-${i}`,
    })),
    ...more,
  },
})
const states: readonly string[] = ['solid', 'gone', 'waiting'] satisfies OwnerState[]
const isState = (text: string): text is OwnerState => states.includes(text)
const judged = (owners: OwnerState[], more: object = {}) => {
  const verdict = judge(object(owners, more), ({ name }) => (isState(name) ? name : 'solid'))
  return verdict.kind === 'delete' ? `delete ${verdict.propagation}` : verdict.kind
}

const cases: [string, OwnerState[], object, string][] = [
  ['nobody', [], {}, 'keep'],
  ['a living owner', ['solid'], {}, 'keep'],
  ['a dead owner', ['gone'], {}, 'delete Background'],
  ['a dead and a living owner', ['gone', 'solid'], {}, 'disown'],
  ['an owner that waits for it', ['waiting'], {}, 'delete Foreground'],
  ['a waiting and a living owner', ['waiting', 'solid'], {}, 'disown'],
  ['a waiting and a dead owner', ['waiting', 'gone'], {}, 'delete Foreground'],
  ['a dead owner, being deleted already', ['gone'], { deletionTimestamp: 'x' }, 'keep'],
  ['a dead owner, to be orphaned itself', ['gone'], { finalizers: ['orphan'] }, 'delete Orphan'],
  [
    'a dead owner, with dependents that block',
    ['gone'],
    { finalizers: ['foregroundDeletion'] },
    'delete Foreground',
  ],
]
for (const [name, owners, more, want] of cases)
  t.test(`an object of ${name}: ${want}`, async (t) => t.equal(judged(owners, more), want))

t.test('ownership is known from both ends and forgotten without a trace', async (t) => {
  const ownership = new Ownership()
  const place = (name: string) => ({ resource: 'pods', namespace: 'ns', name })
  const child = (owners: string[]) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      uid: 'c',
      ownerReferences: owners.map((uid) => ({ apiVersion: 'v1', kind: 'X', name: uid, uid })),
    },
  })
  ownership.put(place('c'), child(['a', 'b']))
  t.same(ownership.dependents('a'), ['c'])
  t.same(ownership.put(place('c'), child(['b'])), ['a'], 'the owner that it has left')
  t.same(ownership.dependents('a'), [])
  t.same(ownership.remove('c'), ['b'])
  t.same(ownership.dependents('b'), [])
  t.equal(ownership.place('c'), undefined)
})

t.test('a failing item does not stop the others, and nothing runs after disposal', async (t) => {
  const done: number[] = []
  const failed: unknown[] = []
  const queue = batches<number>(
    (n) => {
      if (n === 1) throw new Error('one')
      done.push(n)
    },
    (error) => failed.push(error),
  )
  for (const n of [1, 2, 2, 3]) queue.add(n)
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  t.same(done, [2, 3])
  t.equal(failed.length, 1)
  queue.add(4)
  queue[Symbol.dispose]()
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  t.same(done, [2, 3])
})
