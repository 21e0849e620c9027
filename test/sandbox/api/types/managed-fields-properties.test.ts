import fc from 'fast-check'
import t from 'tap'
import { configMap, nested } from './samples.ts'
import { menu } from './tracked-object.ts'
import '../../../fakes/seed.ts'

t.test('hostile configurations and entries do no harm', async (t) => {
  const store = menu()
  t.match(store.apply('ana', nested(70)), [/too deeply/])
  store.apply(
    'ana',
    JSON.parse('{"metadata":{"name":"menu","__proto__":{"polluted":1}},"data":{"a":"b","__proto__":"x"}}'),
  )
  store.edit('ben', (object) => {
    Object(object)['metadata'].managedFields = [
      {
        manager: 'x',
        operation: 'Apply',
        fieldsV1: { 'k:{': {}, 'f:__proto__': { 'f:a': {} }, __proto__: {}, 'q:': {} },
      },
      { operation: 'Explode' },
    ]
  })
  store.apply('ana', configMap({ a: 'c' }), { force: true })
  t.strictSame(store.data, { a: 'c' })
  t.notOk('polluted' in {})
})

const data = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('1', '2'), { maxKeys: 4 })

t.test(
  'for all configurations: apply is idempotent, and applying nothing restores what was before',
  async (t) => {
    fc.assert(
      fc.property(data, data, (others, mine) => {
        const store = menu()
        store.apply('other', configMap(others))
        const before = structuredClone(store.data ?? {})
        store.apply('me', configMap({ z: 'mine', ...mine }), { force: false })
        const blocked = Object(store.data)['z'] === undefined
        const once = structuredClone(store.object)
        if (!blocked) {
          store.apply('me', configMap({ z: 'mine', ...mine }))
          t.strictSame(store.object, once)
          store.apply('me', configMap({}))
        }
        return JSON.stringify(sorted(store.data)) === JSON.stringify(sorted(before))
      }),
      { numRuns: 200 },
    )
  },
)
const sorted = (value: unknown) => Object.entries(Object(value ?? {})).sort(([a], [b]) => a.localeCompare(b))

t.test(
  'for all sequences of writes: what is stored is what its owners asked for, and entries stay readable',
  async (t) => {
    const step = fc.record({
      manager: fc.constantFrom('ana', 'ben', 'eve'),
      verb: fc.constantFrom('apply', 'force', 'update'),
      data,
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        const store = menu()
        store.apply('base', configMap({ z: 'z' })) // an object without any owner is no longer tracked
        for (const { manager, verb, data } of steps) {
          if (verb === 'update')
            store.update(manager, {
              ...configMap({ z: 'z', ...data }),
              metadata: { ...Object(store.object)['metadata'], name: 'menu' },
            })
          else {
            const conflicts = store.apply(manager, configMap(data), { force: verb === 'force' })
            if (conflicts.length === 0)
              for (const [key, value] of Object.entries(data))
                if (Object(store.data)[key] !== value) return false
          }
        }
        const owned = new Set(
          store.entries().flatMap((e) => Object.keys(Object(e['fieldsV1'])['f:data'] ?? {})),
        )
        return Object.keys(Object(store.data ?? {})).every((key) => owned.has(`f:${key}`))
      }),
      { numRuns: 300 },
    )
    t.pass('held')
  },
)
