import t from 'tap'
import type { RouteStatus } from '../../../controller/routes/gateway-api-status.ts'
import { mergedParents } from '../../../controller/routes/parent-statuses.ts'

const ofService = (name: string) => ({ group: '', kind: 'Service', name })
const accepted = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'yes' } as const
const wanted = (...names: readonly string[]): RouteStatus =>
  names.map((name) => ({ parentRef: ofService(name), conditions: [accepted] }))
const theirs = { parentRef: ofService('order'), controllerName: 'example.com/other', conditions: [] }
type Entry = Readonly<{ controllerName: string; parentRef: unknown; conditions: readonly unknown[] }>
const written = (parents: readonly unknown[] | undefined): readonly Entry[] => (parents ?? []) as Entry[]
const summary = (parents: readonly unknown[] | undefined) =>
  written(parents).map(
    ({ controllerName, parentRef }) => `${controllerName} ${(parentRef as { name: string }).name}`,
  )

t.test(
  'whoever puts his own entries last, and whoever puts them first, does not make us write again',
  async (t) => {
    let parents = written(mergedParents({ parents: [theirs] }, wanted('order', 'cart'), 1, 'now'))
    let writes = 0
    for (let round = 0; round < 10; round++) {
      const isTheirs = ({ controllerName }: Entry) => controllerName === theirs.controllerName
      const own = parents.filter((one) => !isTheirs(one))
      parents = round < 5 ? [...own, theirs] : [theirs, ...own]
      const again = mergedParents({ parents }, wanted('order', 'cart'), 1, 'later')
      if (again === undefined) continue
      writes++
      parents = written(again)
    }
    t.equal(writes, 0)
  },
)

t.test('entries keep their places; those of parents that are gone go, and new ones come last', async (t) => {
  const before = mergedParents({ parents: [] }, wanted('a', 'b', 'c'), 1, 'now')
  const [a, b, c] = written(before)
  const parents = [c, theirs, b, a]
  t.equal(mergedParents({ parents }, wanted('a', 'b', 'c'), 1, 'later'), undefined)
  t.strictSame(summary(mergedParents({ parents }, wanted('d', 'b', 'c'), 1, 'later')), [
    'istio.io/gateway-controller c',
    'example.com/other order',
    'istio.io/gateway-controller b',
    'istio.io/gateway-controller d',
  ])
})

t.test('a new generation is noted, and the time of the last transition stays', async (t) => {
  const parents = mergedParents(undefined, wanted('a'), 1, 'then')
  const [again] = written(mergedParents({ parents }, wanted('a'), 2, 'now'))
  t.match(again?.conditions, [{ lastTransitionTime: 'then', observedGeneration: 2 }])
  const refused = { ...accepted, status: 'False', reason: 'NoMatchingParent' } as const
  const worse: RouteStatus = [{ parentRef: ofService('a'), conditions: [refused] }]
  const [other] = written(mergedParents({ parents }, worse, 1, 'now'))
  t.match(other?.conditions, [{ lastTransitionTime: 'now', observedGeneration: 1 }])
})

t.test('what is no list of entries is no reason to fail', async (t) => {
  for (const parents of [
    undefined,
    null,
    5,
    [null, 5, {}],
    [{ controllerName: 'istio.io/gateway-controller' }],
  ])
    t.ok(mergedParents({ parents }, wanted('a'), 1, 'now'))
})
