import fc from 'fast-check'
import t from 'tap'
import { ByteQueue } from '../../../lib/hbone/byte-queue.ts'
import { MemoryBudget } from '../../../lib/hbone/memory.ts'
import '../../fakes/seed.ts'

t.test('bytes come out as they went in, whatever the pieces', async () => {
  const step = fc.oneof(fc.integer({ min: 1, max: 20_000 }), fc.constant('take' as const))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const budget = new MemoryBudget(1 << 30)
      const queue = new ByteQueue(budget)
      const went: Buffer[] = []
      const came: Buffer[] = []
      let next = 0
      const take = () => {
        const batch = queue.take()
        if (!batch) return
        for (const view of batch.views) came.push(Buffer.from(view))
        queue.release(batch)
      }
      for (const one of steps) {
        if (one === 'take') {
          take()
          continue
        }
        const piece = Buffer.alloc(one + 7, next++ & 255)
        went.push(piece.subarray(3, one + 3))
        if (!queue.push(piece, 3, one + 3)) return false
      }
      take()
      return Buffer.concat(went).equals(Buffer.concat(came)) && budget.used === 0 && queue.bytes === 0
    }),
    { numRuns: 300 },
  )
})

t.test('many small pieces cost little more than their bytes', async (t) => {
  const budget = new MemoryBudget(1 << 30)
  const queue = new ByteQueue(budget)
  const one = Buffer.from('x')
  for (let i = 0; i < 100_000; i++) queue.push(one, 0, 1)
  t.equal(queue.bytes, 100_000)
  t.ok(budget.used < 300_000, `${budget.used} bytes`)
})

t.test('a lone byte is not given a slab, even after a burst', async (t) => {
  const budget = new MemoryBudget(1 << 30)
  const queue = new ByteQueue(budget)
  const round = (n: number) => {
    queue.push(Buffer.alloc(n), 0, n)
    const batch = queue.take()
    if (batch) queue.release(batch)
  }
  round(1 << 20)
  round(1)
  queue.push(Buffer.from('x'), 0, 1)
  t.equal(budget.used, 4096)
})

t.test('a full budget refuses, and keeps what it had', async (t) => {
  const budget = new MemoryBudget(10_000)
  const queue = new ByteQueue(budget)
  t.equal(queue.push(Buffer.alloc(4000), 0, 4000), true)
  t.equal(queue.push(Buffer.alloc(9000), 0, 9000), false)
  t.equal(queue.bytes, 4000)
})
