import fc from 'fast-check'
import t from 'tap'
import type { Custom } from '#kube'
import { workload } from '#wire'
import { readServiceEntry } from '../../../controller/collections/index.ts'
import { meshOf } from './world.ts'
import '../../fakes/seed.ts'

t.setTimeout(300_000)

const fields = [
  'hosts',
  'addresses',
  'ports',
  'endpoints',
  'workloadSelector',
  'exportTo',
  'subjectAltNames',
  'resolution',
  'address',
  'labels',
  'locality',
  'weight',
  'network',
  'serviceAccount',
]
/** Words that mean something somewhere, in all the wrong places. */
const word = fc.constantFrom(
  'api.example.com',
  '*',
  '*.x',
  '10.0.0.0/8',
  '10.0.0.1',
  '::1',
  '/',
  '',
  '.',
  '~',
  'DNS',
  'NONE',
  'STATIC',
  '__proto__',
  'constructor',
  'unix:///x',
  'r/z/s',
  '1e9',
)
const leaf = fc.oneof(word, fc.integer(), fc.double(), fc.boolean(), fc.constant(null))
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.array(tie('tree'), { maxLength: 3 }),
    fc.dictionary(
      fc.oneof(fc.constantFrom(...fields, 'number', 'targetPort', 'name', 'value', 'host'), word),
      tie('tree'),
      { maxKeys: 4 },
    ),
  ),
}))
/** Of the right shape, with wrong words in it. */
const nearly = fc.record({
  hosts: fc.array(word),
  addresses: fc.array(word),
  address: word,
  resolution: fc.constantFrom('DNS', 'STATIC', 'NONE', 'DNS_ROUND_ROBIN'),
  endpoints: fc.array(fc.record({ address: word, labels: tree, ports: tree, weight: leaf }), {
    maxLength: 3,
  }),
  ports: fc.array(
    fc.record({ number: fc.oneof(fc.integer({ min: 0, max: 70_000 }), leaf), name: leaf, protocol: leaf }),
  ),
  exportTo: fc.oneof(fc.array(word), tree),
})
const anything = Object.fromEntries(fields.map((field) => [field, tree]))
const spec = fc.oneof(tree, fc.record(anything, { requiredKeys: [] }), nearly)

t.test(
  'whatever is in an entry: it can be read, encoded and decoded, and others are as they were',
  async (t) => {
    const good = {
      metadata: { namespace: 'shop', name: 'good' },
      spec: { hosts: ['good.example.com'], resolution: 'DNS' },
    }
    const alone = meshOf({ serviceEntries: [good] }).addresses
    let rows = 0
    await fc.assert(
      fc.asyncProperty(spec, spec, tree, async (a, b, status) => {
        await new Promise((done) => setImmediate(done)) // what waits for a mesh keeps it until it may run
        const entry = { metadata: { namespace: 'bank', name: 'bad' }, spec: a, status } as Custom
        readServiceEntry(entry)
        const machine = { metadata: { namespace: 'bank', name: 'vm' }, spec: b, status } as Custom
        const { addresses } = meshOf({ serviceEntries: [good, entry], workloadEntries: [machine] })
        for (const { name, any } of addresses.list()) {
          rows++
          if (workload.Address.decode(any.value).type === undefined) throw new Error(`${name} cannot be read`)
        }
        return alone.keys().every((key) => addresses.get(key)?.version === alone.get(key)?.version)
      }),
      { numRuns: 2_000 },
    )
    t.ok(rows > 5_000, `the good one's two each time, and some of the others: ${rows}`)
  },
)
