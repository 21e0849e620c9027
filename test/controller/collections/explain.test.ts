/** Whoever looks into a running controller finds every collection, and for each row the objects that it came from. */
import t from 'tap'
import { explainRow, type Explanation, fixed, keyOf, type Traceable } from '#kube'
import { liveSettingsFrom } from '../../../controller/mesh-config.ts'
import { type Inputs, liveKey, meshFrom } from '../../../controller/collections/index.ts'
import { kinds, variants } from './histories.ts'
import { inputsOf, namespace, settings } from './world.ts'

/** A mesh in which every collection has a row. */
function richMesh() {
  // Of those with one key the first is there: the usual one.
  const rows = (kind: keyof Inputs) =>
    kind === 'meshConfig'
      ? fixed(kind, {
          [liveKey]: liveSettingsFrom({ discoverySelectors: [{ matchLabels: { mesh: 'on' } }] }),
        })
      : fixed(kind, Object.fromEntries(variants[kind].toReversed().map((row) => [keyOf(row), row])))
  const inputs = Object.fromEntries(kinds.map((kind) => [kind, rows(kind)])) as unknown as Inputs
  const more = inputsOf({
    namespaces: [
      namespace('shop', { labels: { mesh: 'on', 'istio.io/use-waypoint': 'typo' } }),
      ...['bank', 'istio-system'].map((name) => namespace(name, { labels: { mesh: 'on' } })),
      namespace('hidden'),
    ],
    nodes: [{ metadata: { name: 'node-1', labels: { 'topology.kubernetes.io/zone': 'z' } } }],
    serviceEntries: [
      {
        metadata: { name: 'e', namespace: 'bank' },
        spec: { hosts: ['e.example.com'], resolution: 'DNS', ports: [{ number: 80, name: 'http' }] },
      },
    ],
    policies: [
      {
        metadata: { name: 'p', namespace: 'shop' },
        spec: { selector: { matchLabels: { app: 'a' } }, rules: [{}] },
      },
      {
        metadata: { name: 'q', namespace: 'shop' },
        spec: { targetRefs: [{ kind: 'Service', name: 'a' }], rules: [{}] },
      },
    ],
    peers: [
      {
        metadata: { name: 'ports', namespace: 'shop' },
        spec: {
          selector: { matchLabels: { app: 'a' } },
          mtls: { mode: 'STRICT' },
          portLevelMtls: { 80: { mode: 'PERMISSIVE' } },
        },
      },
    ],
  })
  const { namespaces, nodes, serviceEntries, authorizationPolicies, peerAuthentications } = more
  return meshFrom(
    { ...inputs, namespaces, nodes, serviceEntries, authorizationPolicies, peerAuthentications },
    { ...settings, allowWaypoints: true },
  )
}

/** The collections that a row comes from, down to those that came from outside. */
const roots = ({ collection, exists, from }: Explanation): readonly string[] =>
  from.length === 0 ? (exists ? [collection] : []) : from.flatMap(({ rows }) => rows.flatMap(roots))

const outside: readonly string[] = [...kinds, 'policies', 'peers', 'Settings']

t.test(
  'every collection is there, has rows in a rich mesh, and each row leads back to objects',
  async (t) => {
    const { collections } = richMesh()
    for (const [name, collection] of collections) {
      const [key] = collection.keys()
      if (!t.ok(key !== undefined, `${name} has rows`) || key === undefined) continue
      if (outside.includes(name)) continue
      const from = roots(explainRow(collection, key))
      t.ok(from.length > 0, `${name} ${key} comes from something`)
      t.strictSame(
        from.filter((root) => !outside.includes(root)),
        [],
        `${name} ${key} comes from objects`,
      )
    }
  },
)

t.test('whatever a row of these is made from is among them, so that it can be looked at', async (t) => {
  const { collections } = richMesh()
  const missing = new Set<string>()
  const visit = (collection: Traceable, key: string, depth: number): void => {
    if (collections.get(collection.name) !== collection) missing.add(collection.name)
    if (depth === 0) return
    for (const { from, keys } of collection.origins?.(key) ?? [])
      for (const each of keys.slice(0, 2)) visit(from, each, depth - 1)
  }
  for (const collection of collections.values())
    for (const key of collection.keys().slice(0, 3)) visit(collection, key, 4)
  t.strictSame([...missing].sort(), [])
})

t.test('a pod says why it has its policies and its waypoint', async (t) => {
  const mesh = richMesh()
  const text = JSON.stringify(explainRow(mesh.addresses, 'Kubernetes//Pod/shop/a'))
  for (const name of ['pods', 'services', 'namespaces', 'nodes', 'policies', 'Waypoints'])
    t.match(text, `"collection":"${name}"`)
  t.match(
    JSON.stringify(explainRow(mesh.waypointReferences, 'shop/a')),
    /"collection":"Waypoints","key":"shop\/typo","exists":false/,
    'what was asked for and is not there is said too',
  )
})
