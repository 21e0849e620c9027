import t from 'tap'
import { Allowance } from '../../../controller/xds/allowance.ts'
import { PodQuota } from '../../../controller/xds/pod-quota.ts'

const clock = () => {
  let ms = 0
  return { now: () => ms, pass: (by: number) => (ms += by) }
}

t.test('so many at once, then so many per second, and never more than the burst', async (t) => {
  const { now, pass } = clock()
  const allowance = new Allowance({ burst: 3, perSecond: 2 }, now)
  t.strictSame(
    [1, 2, 3, 4].map(() => allowance.take()),
    [true, true, true, false],
  )
  t.equal(allowance.waitMs, 500)
  pass(499)
  t.notOk(allowance.take())
  pass(1)
  t.ok(allowance.take())
  t.notOk(allowance.take(), 'a no costs nothing, and a yes one')
  pass(60_000)
  t.ok(allowance.isFull)
  t.strictSame(
    [1, 2, 3, 4].map(() => allowance.take()),
    [true, true, true, false],
  )
})

t.test('a pod that opens streams in a loop has one per second', async (t) => {
  const { now, pass } = clock()
  const quota = new PodQuota(now)
  const loop = () => {
    const refused = quota.enter('a')
    if (refused === undefined) quota.leave('a')
    return refused
  }
  for (let i = 0; i < 30; i++) t.equal(loop(), undefined)
  t.match(loop(), /too fast/)
  t.equal(quota.enter('b'), undefined, 'another pod is another pod')
  pass(1_000)
  t.equal(loop(), undefined)
  t.match(loop(), /too fast/)
})

t.test('pods that have been quiet are forgotten', async (t) => {
  const { now, pass } = clock()
  const quota = new PodQuota(now)
  for (let i = 0; i < 10_000; i++) {
    quota.enter(`pod-${i}`)
    quota.leave(`pod-${i}`)
  }
  pass(1_000)
  t.equal(quota.enter('one more'), undefined)
  t.equal(quota.remembered, 1)
})
