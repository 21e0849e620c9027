import t from 'tap'
import { RecentCount } from '../../../waypoint/upstream/recent-count.ts'

t.test('what is longer ago than the window does not count, however long nobody has looked', async (t) => {
  const windowMs = 1_000
  const recent = new RecentCount()
  for (let at = 0; at < windowMs; at += 100) recent.add(windowMs, at)
  t.equal(recent.count(windowMs, 999), 10)
  t.equal(recent.count(windowMs, 1_000), 9, 'the tenth of the window that began first is over')
  t.equal(recent.count(windowMs, 1_450), 5)
  recent.add(windowMs, 1_450)
  t.equal(recent.count(windowMs, 1_450), 6)
  t.equal(recent.count(windowMs, 2_350), 1)
  t.equal(recent.count(windowMs, 2_400), 0)
  recent.add(windowMs, 9_999)
  t.equal(recent.count(windowMs, 1_000_000), 0)
  recent.add(windowMs, 1_000_000)
  t.equal(recent.count(windowMs, 999_000), 1, 'a clock that is asked for an earlier time forgets nothing')
})
