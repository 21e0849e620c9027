import t from 'tap'
import { Load } from '../../waypoint/load.ts'

const fill = (load: Load, who: string): number => {
  let taken = 0
  while (load.enter(who)) taken++
  return taken
}

t.test('alone one gets most of it, and never all', async (t) => {
  const load = new Load(100)
  t.equal(fill(load, 'a'), 75)
  t.equal(fill(load, 'b'), 19)
  t.ok(load.enter('c'), 'there is always something for who has nothing')
  t.ok(load.active < 100)
})

t.test('what is given back is there for others', async (t) => {
  const load = new Load(20)
  const taken = fill(load, 'a')
  for (let n = 0; n < taken; n++) load.leave('a')
  t.equal(load.active, 0)
  t.equal(fill(load, 'b'), taken)
})

t.test('who has left is forgotten', async (t) => {
  const load = new Load(10)
  for (let n = 0; n < 5_000; n++) {
    if (!load.enter(`${n}`)) t.fail(`${n}`)
    load.leave(`${n}`)
  }
  t.equal(load.active, 0)
  t.ok(load.known < 2_000)
})

t.test('a limit of nothing takes nothing', async (t) => {
  t.equal(new Load(0).enter('a'), false)
})

t.test('some hold more than others', async (t) => {
  const load = new Load(100)
  t.equal(load.enter('a', 101), false)
  t.ok(load.enter('a', 70))
  t.equal(load.enter('a', 10), false, 'more than its share')
  t.ok(load.enter('a', 5))
  t.equal(load.enter('b', 26), false, 'more than there is')
  t.ok(load.enter('b', 18))
  load.leave('a', 75)
  load.leave('b', 18)
  t.equal(load.active, 0)
})
