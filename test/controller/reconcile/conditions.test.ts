import t from 'tap'
import type { Condition } from '#kube'
import { bundleStep, conditionsOf, mergedConditions } from '../../../controller/reconcile/index.ts'

const then = '2026-01-01T00:00:00Z'
const now = '2026-02-02T00:00:00Z'
const ours: Condition = { type: 'Ours', status: 'True', reason: 'R', message: 'm' }
const theirs: Condition = {
  type: 'Theirs',
  status: 'False',
  reason: 'X',
  message: 'y',
  lastTransitionTime: then,
}
const wanted = { types: ['Ours', 'AlsoOurs'], conditions: [ours] }
const written = { ...ours, lastTransitionTime: then, observedGeneration: 1 }

t.test('what to write', async (t) => {
  t.strictSame(mergedConditions([], wanted, 1, now), [
    { ...ours, lastTransitionTime: now, observedGeneration: 1 },
  ])
  t.equal(mergedConditions([written], wanted, 1, now), undefined, 'as wanted: nothing')
  t.strictSame(
    mergedConditions([theirs, written], { ...wanted, conditions: [] }, 1, now),
    [theirs],
    'others stay',
  )
  t.equal(mergedConditions([theirs], { ...wanted, conditions: [] }, 1, now), undefined)
  t.match(
    mergedConditions([written], wanted, 2, now),
    [{ lastTransitionTime: then, observedGeneration: 2 }],
    'seen anew',
  )
  const turned: Condition = { ...ours, status: 'False' }
  t.match(mergedConditions([written], { ...wanted, conditions: [turned] }, 1, now), [
    { lastTransitionTime: now },
  ])
  const reworded: Condition = { ...ours, message: 'other' }
  t.match(mergedConditions([written], { ...wanted, conditions: [reworded] }, 1, now), [
    { lastTransitionTime: then, message: 'other' },
  ])
  const old: Condition = { ...written, type: 'AlsoOurs' }
  t.match(
    mergedConditions([old, written], wanted, 1, now),
    [{ type: 'Ours' }],
    'a type of ours no longer wanted goes',
  )
})

t.test('a status of any shape', async (t) => {
  for (const status of [undefined, null, 'x', { conditions: 'x' }, { conditions: [null, 5, { type: 'T' }] }])
    t.strictSame(conditionsOf(status), [])
  t.strictSame(conditionsOf({ conditions: [theirs] }), [theirs])
})

t.test('root bundles: where and when', async (t) => {
  const ns = (name: string, o: object = {}) => ({ metadata: { name }, ...o })
  const bundle = (pem: string) => ({ metadata: {}, data: { 'root-cert.pem': pem } })
  t.equal(bundleStep(ns('a'), undefined, 'root-cert.pem', 'R'), 'create')
  t.equal(bundleStep(ns('a'), undefined, 'root-cert.pem', undefined), 'none')
  t.equal(bundleStep(ns('a'), bundle('R'), 'root-cert.pem', 'R'), 'none')
  t.equal(bundleStep(ns('a'), bundle('other'), 'root-cert.pem', 'R'), 'repair')
  t.equal(bundleStep(ns('a'), { metadata: {} }, 'root-cert.pem', 'R'), 'repair')
  t.equal(bundleStep(undefined, undefined, 'root-cert.pem', 'R'), 'none')
  t.equal(bundleStep(ns('a', { status: { phase: 'Terminating' } }), undefined, 'root-cert.pem', 'R'), 'none')
  t.equal(
    bundleStep({ metadata: { name: 'a', deletionTimestamp: then } }, undefined, 'root-cert.pem', 'R'),
    'none',
  )
  t.equal(bundleStep(ns('kube-node-lease'), undefined, 'root-cert.pem', 'R'), 'none')
})
