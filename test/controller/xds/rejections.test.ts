import t from 'tap'
import { authorizationTypeUrl } from '#wire'
import { Rejections } from '../../../controller/xds/rejections.ts'
import { type Resource, Snapshot } from '../../../controller/xds/snapshot.ts'

const resource = (name: string, version: string): Resource => ({
  name,
  version,
  aliases: [],
  keys: [name],
  any: { typeUrl: '', value: Buffer.alloc(0) },
})

function scene(...names: readonly string[]) {
  const view = new Snapshot()
  view.publish(names, (name) => resource(name, 'v1'))
  const rejections = new Rejections(new Map([[authorizationTypeUrl, view]]))
  const table = rejections.of(authorizationTypeUrl)
  const heard: string[] = []
  table.subscribe((changes) => {
    for (const { key, row } of changes)
      heard.push(row ? `${key} by ${row.clients}: ${row.message}` : `${key} -`)
  })
  const publish = (name: string, version: string | undefined) =>
    rejections.published(
      authorizationTypeUrl,
      view.publish([name], () => (version === undefined ? undefined : resource(name, version))),
    )
  const note = (client: object, error: string) => rejections.note(client, authorizationTypeUrl, error)
  return { rejections, table, heard, publish, note }
}

t.test('a rejection is that of the resources that it names, until they change', async (t) => {
  const { heard, note, publish, table } = scene('shop/a', 'shop/b', 'shop/c')
  note({}, 'shop/a: unknown field 9; shop/b: no rules; shop/unknown: x')
  publish('shop/a', 'v2')
  publish('shop/c', 'v2')
  publish('shop/b', undefined)
  t.strictSame(heard, [
    'shop/a by 1: shop/a: unknown field 9',
    'shop/b by 1: shop/b: no rules',
    'shop/a -',
    'shop/b -',
  ])
  t.equal(table.size(), 0)
})

t.test('it stands as long as one client says so, and ends with the last of them', async (t) => {
  const { heard, note, rejections } = scene('shop/a')
  const [one, two] = [{}, {}]
  note(one, 'shop/a: no')
  note(two, 'shop/a: never')
  note(two, 'shop/a: never')
  rejections.left(one)
  rejections.left(two)
  rejections.left(two)
  t.strictSame(heard, [
    'shop/a by 1: shop/a: no',
    'shop/a by 2: shop/a: never',
    'shop/a by 2: shop/a: never',
    'shop/a by 1: shop/a: never',
    'shop/a -',
  ])
})

t.test('words that name nothing of ours are nobody’s, and long or unprintable ones are cut', async (t) => {
  const { heard, note } = scene('shop/a')
  note({}, 'I do not like it')
  note({}, `shop/a: \u001b[31m${'x'.repeat(1_000)}`)
  t.equal(heard.length, 1)
  t.ok((heard[0]?.length ?? 0) < 300)
  t.notOk(heard[0]?.includes('\u001b'))
})

t.test('one client can hold something against a hundred resources, not against all', async (t) => {
  const names = Array.from({ length: 200 }, (_, i) => `shop/p${i}`)
  const { note, table, publish } = scene(...names)
  const client = {}
  note(client, names.map((name) => `${name}: no`).join('; '))
  t.equal(table.size(), 100)
  publish('shop/p0', 'v2')
  note(client, 'shop/p0: no')
  t.equal(table.size(), 100, 'what is settled makes room')
})
