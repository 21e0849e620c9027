import t from 'tap'
import { Bag } from '#base'

t.test('a bag has what was added and not taken out, whatever the order', async (t) => {
  const bag = new Bag<number>()
  const places = Array.from({ length: 10 }, (_, i) => bag.add(i))
  for (const i of [3, 9, 0]) {
    const place = places[i]
    if (place) bag.delete(place)
  }
  t.equal(bag.size, 7)
  t.same(
    [...bag].toSorted((a, b) => a - b),
    [1, 2, 4, 5, 6, 7, 8],
  )
})

t.test('what stays in while it is walked comes, what is added does not', async (t) => {
  for (const gone of Array.from({ length: 8 }, (_, i) => i)) {
    const bag = new Bag<string>()
    const places = Array.from({ length: 8 }, (_, i) => bag.add(`${i}`))
    const seen: string[] = []
    for (const item of bag) {
      if (seen.length === 3) {
        // In the middle of the walk, as a request ends when it is judged.
        const place = places[gone]
        if (place) bag.delete(place)
        bag.add('new')
      }
      seen.push(item)
    }
    const missed = places.filter(({ item }) => !seen.includes(item))
    t.ok(
      missed.every(({ item }) => item === `${gone}`),
      `${gone} taken out: only it may be missing`,
    )
    t.notOk(seen.includes('new'))
  }
})

t.test('a walk ends when everything is taken out', async (t) => {
  const bag = new Bag<number>()
  const places = Array.from({ length: 100 }, (_, i) => bag.add(i))
  let seen = 0
  for (const item of bag) {
    seen++
    t.equal(item, 99)
    for (const place of places) bag.delete(place)
  }
  t.equal(seen, 1)
  t.equal(bag.size, 0)
})
