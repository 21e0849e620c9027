import t from 'tap'
import { parseService, parseWorkload, type Workload } from '#mesh'
import type { DestinationPolicy } from '#routes'
import { serviceWire, type WorkloadDraft, workloadWire } from '../../fakes/mesh.ts'
import { Cluster } from '../../../waypoint/upstream/cluster.ts'
import { policyOf, webKey } from '../kit.ts'

const service = parseService(serviceWire({ name: 'web', ports: { 80: 8080 } }))
const workload = (draft: Partial<WorkloadDraft> = {}): Workload =>
  parseWorkload(
    workloadWire({ name: 'a', addresses: ['10.0.0.1'], services: { [webKey]: { 80: 8080 } }, ...draft }),
  )
const { uid } = workload()
const here = `${webKey}|80||${uid}`

/** A destination with one endpoint, and the places that were left since. */
function watched() {
  const left: string[] = []
  const cluster = new Cluster(service, policyOf({}), {
    local: () => undefined,
    network: '',
    random: () => 0,
    now: () => 0,
    left: (place) => left.push(place),
  })
  cluster.reset(service, [workload()])
  return { cluster, left }
}

/** What becomes of an endpoint, and whether connections to it may be used on. */
const changes: readonly (readonly [string, Workload | undefined, 'stays' | 'left'])[] = [
  ['it has gone', undefined, 'left'],
  ['it is not ready', workload({ status: 1 }), 'left'],
  ['it shall get nothing', workload({ capacity: 0 }), 'left'],
  ['it is on another network', workload({ network: 'far' }), 'left'],
  ['it has another address', workload({ addresses: ['10.0.0.2'] }), 'left'],
  ['it has another identity', workload({ serviceAccount: 'b' }), 'left'],
  ['it has come into the mesh, or left it', workload({ tunnelProtocol: 0 }), 'left'],
  ['it listens at another port', workload({ services: { [webKey]: { 80: 9090 } } }), 'left'],
  ['it has another weight', workload({ capacity: 7 }), 'stays'],
  ['it has another version', workload({ canonicalRevision: 'v2' }), 'stays'],
  ['nothing has changed', workload(), 'stays'],
]

for (const [what, now, expected] of changes)
  t.test(`connections to an endpoint, when ${what}: ${expected}`, async (t) => {
    const { cluster, left } = watched()
    t.strictSame(left, [], 'one that is new has none')
    cluster.update(uid, now)
    t.strictSame(left, expected === 'left' ? [here] : [])
    cluster.update(uid, now)
    t.strictSame(left, expected === 'left' ? [here] : [], 'and it is said once')
  })

t.test('one that was missed while nobody asked is found when the members are read again', async (t) => {
  const { cluster, left } = watched()
  cluster.reset(service, [])
  t.strictSame(left, [here])
  cluster.reset(service, [workload()])
  t.strictSame(left, [here], 'who comes back is new')
})

const policies: readonly (readonly [string, Partial<DestinationPolicy>, boolean])[] = [
  [
    'TLS is spoken from now on',
    {
      tls: {
        mode: 'simple',
        sni: 'x',
        subjectAltNames: [],
        insecureSkipVerify: false,
        trust: { kind: 'system' },
      },
    },
    true,
  ],
  ['another balancer', { loadBalancer: { kind: 'random' } }, false],
]
for (const [what, given, expected] of policies)
  t.test(`connections under another policy: ${what}`, async (t) => {
    const { cluster, left } = watched()
    cluster.obey(policyOf(given))
    t.strictSame(left, expected ? [here] : [])
  })
