import fc from 'fast-check'
import t from 'tap'
import { ip } from '#base'
import { addressHandler, MeshState, resolveOutbound } from '../../../ztunnel/state/index.ts'
import { serviceResource, workloadResource } from '../../fakes/mesh.ts'
import { client, destinations, far, serviceDrafts, workloads } from '../../helpers/random-mesh.ts'
import { possibleRoutes, routeText, serviceAt, workloadAt } from '../../helpers/route-oracle.ts'

type Resources = Readonly<Record<string, { version: string; bytes: Uint8Array }>>
const listed = (resources: Resources) =>
  Object.entries(resources).map(([name, { version, bytes }]) => ({ name, version, bytes }))

/** Versions of a few workloads and services, in batches in which no name is twice. */
const change = fc.oneof(
  fc
    .nat(3)
    .chain((n) => workloads(n))
    .map((draft) => ({ upsert: workloadResource(draft), name: draft.name })),
  serviceDrafts.map((draft) => ({
    upsert: serviceResource(draft),
    name: `${draft.namespace}/${draft.name}`,
  })),
)
const batches = fc.array(
  fc.uniqueArray(fc.tuple(change, fc.boolean()), { maxLength: 4, selector: ([{ name }]) => name }),
  { maxLength: 8 },
)

const addresses = [
  '10.0.0.1',
  '10.0.0.2',
  '10.0.0.3',
  '10.0.0.4',
  '10.0.0.5',
  'fd00::1',
  'fd00::2',
  'fd00::3',
]
const vips = ['10.96.0.1', 'fd96::1', '10.96.0.77', '10.96.5.5', '10.96.0.9', '10.96.0.8', '11.0.0.1']

t.test('whatever came in between and in which order: the state is that of the last versions', async (t) => {
  let kept = 0
  fc.assert(
    fc.property(batches, destinations, (sequence, to) => {
      const state = new MeshState('n1')
      const handler = addressHandler(state)
      const last = new Map<string, Resources[string]>(Object.entries(workloadResource(client)))
      handler.apply(listed(Object.fromEntries(last)), [])
      const origDst = { address: ip(to.address), port: to.port }
      const ask = () => {
        const source = state.localWorkload({ namespace: 'demo', name: 'client', serviceAccount: 'client' })
        if (!source) throw new Error('no client')
        const question = { source, sourceIp: ip('10.0.0.1'), network: '', random: () => 0 }
        return { route: resolveOutbound(state, question, origDst), question }
      }
      for (const batch of sequence) {
        const removed: string[] = []
        const upserts: [string, Resources[string]][] = []
        for (const [{ upsert }, removes] of batch)
          for (const [name, resource] of Object.entries(upsert)) {
            if (removes) removed.push(name)
            else upserts.push([name, resource])
          }
        const rejected = handler.apply(listed(Object.fromEntries(upserts)), removed)
        if (rejected.length > 0) throw new Error(JSON.stringify(rejected))
        for (const name of removed) last.delete(name)
        for (const [name, resource] of upserts) last.set(name, resource)
        ask() // so that something is remembered that has to be forgotten
      }
      const fresh = new MeshState('n1')
      addressHandler(fresh).apply(listed(Object.fromEntries([...last].toReversed())), [])
      const rows = { workloads: [...fresh.workloads()], services: [...fresh.services()] }
      kept += rows.workloads.length + rows.services.length
      compare(state, rows)
      compare(fresh, rows)
      const { route, question } = ask()
      if (!possibleRoutes(rows, question, origDst).has(routeText(route))) throw new Error(routeText(route))
    }),
    { numRuns: 800, seed: 20_265 },
  )
  t.ok(kept > 2_000, `${kept} rows were compared`)
})

/** Every question that the state answers, against a look through the rows. */
function compare(state: MeshState, rows: Parameters<typeof workloadAt>[0]): void {
  const names = (list: Iterable<{ uid?: string; key?: string }>) =>
    [...list]
      .map(({ uid, key }) => uid ?? key ?? '')
      .toSorted((a, b) => (a < b ? -1 : 1))
      .join()
  same(names(state.workloads()), names(rows.workloads), 'workloads')
  same(names(state.services()), names(rows.services), 'services')
  for (const network of ['', far])
    for (const address of [...addresses, ...vips].map(ip)) {
      same(state.workloadAt(network, address)?.uid, workloadAt(rows, network, address)?.uid, address)
      for (const namespace of ['demo', 'other', 'third']) {
        const found = state.serviceAt(network, address, namespace)?.key
        same(found, serviceAt(rows, network, address, namespace)?.key, `${address} from ${namespace}`)
      }
    }
  for (const { key, hostname } of rows.services) {
    const members = rows.workloads.filter((workload) => workload.services.has(key))
    same(names(state.membersOf(key).values()), names(members), `members of ${key}`)
    const named = rows.services.filter((service) => service.hostname === hostname)
    same(names(state.servicesNamed(hostname.toUpperCase())), names(named), hostname)
  }
  for (const one of rows.workloads.filter(({ node }) => node === 'n1')) {
    const likewise = ({ name, namespace, serviceAccount }: typeof one) =>
      `${namespace}/${name}/${serviceAccount}`
    same(likewise(state.localWorkload(one) ?? one), likewise(one), 'local')
    same(state.localWorkload(one) === undefined, false, 'local')
    same(state.hasLocalIdentity(one.identity), true, 'identity')
  }
}

function same<T>(found: T, wanted: T, what: string): void {
  if (found !== wanted) throw new Error(`${what}: ${String(found)} is not ${String(wanted)}`)
}

t.test('what was removed leaves nothing behind', async (t) => {
  fc.assert(
    fc.property(batches, (sequence) => {
      const state = new MeshState('n1')
      const handler = addressHandler(state)
      const all = new Set<string>()
      for (const batch of sequence)
        for (const [{ upsert }] of batch) {
          handler.apply(listed(upsert), [])
          for (const name of Object.keys(upsert)) all.add(name)
        }
      handler.apply([], [...all].toReversed())
      compare(state, { workloads: [], services: [] })
      for (const namespace of ['demo', 'other'])
        for (const name of ['web', 'wp', 'gw']) {
          const hostname = `${name}.${namespace}.svc.cluster.local`
          same(state.servicesNamed(hostname).length, 0, hostname)
        }
    }),
    { numRuns: 200, seed: 20_266 },
  )
  t.pass()
})
