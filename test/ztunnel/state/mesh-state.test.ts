import t from 'tap'
import { ip } from '#base'
import { policyName } from '#policy'
import { workload as wire } from '#wire'
import {
  addressHandler,
  authorizationHandler,
  type Change,
  MeshState,
  parseService,
  parseWorkload,
} from '../../../ztunnel/state/index.ts'
import {
  policyResource,
  serviceResource,
  serviceWire,
  workloadResource,
  workloadWire,
} from '../../fakes/mesh.ts'

const web = 'demo/web.demo.svc.cluster.local'
const server = { name: 'server', addresses: ['10.0.0.2'], services: { [web]: { 80: 8080 } } }
const list = (resources: Readonly<Record<string, { bytes: Uint8Array }>>) =>
  Object.entries(resources).map(([name, { bytes }]) => ({ name, version: '1', bytes }))

t.test('a workload that comes before its service is its endpoint all the same', async (t) => {
  const state = new MeshState('n1')
  const handler = addressHandler(state)
  t.same(handler.apply(list(workloadResource(server)), []), [])
  t.same(
    handler.apply(list(serviceResource({ name: 'web', vips: ['10.96.0.1'], ports: { 80: 8080 } })), []),
    [],
  )
  const service = state.serviceAt('', ip('10.96.0.1'), 'demo')
  t.equal(service?.hostname, 'web.demo.svc.cluster.local')
  t.equal(service && state.membersOf(service.key).size, 1)
  handler.apply([], ['Kubernetes//Pod/demo/server'])
  t.equal(service && state.membersOf(service.key).size, 0)
  t.equal(state.workloadAt('', ip('10.0.0.2')), undefined)
  handler.apply([], [web])
  t.equal(state.serviceAt('', ip('10.96.0.1'), 'demo'), undefined)
})

t.test('a workload that moves leaves nothing behind', async (t) => {
  const state = new MeshState('n1')
  const handler = addressHandler(state)
  handler.apply(list(workloadResource(server)), [])
  handler.apply(list(workloadResource({ name: 'server', addresses: ['10.0.0.3'] })), [])
  t.equal(state.workloadAt('', ip('10.0.0.2')), undefined)
  t.equal(state.workloadAt('', ip('10.0.0.3'))?.name, 'server')
  t.equal(state.membersOf(parseService(serviceWire({ name: 'web' })).key).size, 0)
  t.equal([...state.workloads()].length, 1)
})

t.test('what cannot be used is rejected by name, and the rest applies', async (t) => {
  const state = new MeshState('n1')
  const spoilt = (change: Partial<wire.Workload>, name: string) => {
    const value = { ...workloadWire({ name, addresses: ['10.0.0.9'] }), ...change }
    return { name, version: '1', bytes: wire.Address.encode({ type: { $case: 'workload', value } }).finish() }
  }
  const rejected = addressHandler(state).apply(
    [
      spoilt({ addresses: [Buffer.from([1, 2, 3])] }, 'short-address'),
      spoilt({ tunnelProtocol: 2 as wire.TunnelProtocol }, 'legacy-protocol'),
      spoilt({ networkMode: 9 as wire.NetworkMode }, 'unknown-network-mode'),
      spoilt({ services: { nohost: { ports: [] } } }, 'bad-service-key'),
      spoilt(
        { services: { [web]: { ports: [{ servicePort: 80, targetPort: 70_000, appProtocol: 0 }] } } },
        'bad-port',
      ),
      spoilt({ waypoint: { destination: undefined, hboneMtlsPort: 15008 } }, 'gateway-nowhere'),
      spoilt({ serviceAccount: 'a/b' }, 'no-identity'),
      spoilt({ uid: '' }, 'no-uid'),
      { name: 'noise', version: '1', bytes: Buffer.from([0xff, 0x01]) },
      { name: 'empty', version: '1', bytes: new Uint8Array() },
      ...list(workloadResource(server)),
    ],
    [],
  )
  t.same(
    rejected.map(({ name }) => name),
    [
      'short-address',
      'legacy-protocol',
      'unknown-network-mode',
      'bad-service-key',
      'bad-port',
      'gateway-nowhere',
      'no-identity',
      'no-uid',
      'noise',
      'empty',
    ],
  )
  t.ok(rejected.every(({ reason }) => reason.length > 0))
  t.equal(state.workloadAt('', ip('10.0.0.2'))?.name, 'server')
  t.equal([...state.workloads()].length, 1)
})

t.test('an unknown status is unhealthy, an unknown kind of workload only a label', async (t) => {
  const parsed = parseWorkload({
    ...workloadWire(server),
    status: 7 as wire.WorkloadStatus,
    workloadType: 7 as wire.WorkloadType,
  })
  t.equal(parsed.status, 'Unhealthy')
  t.equal(parsed.workloadType, 'pod')
})

t.test('of services with one VIP: visible, own namespace, canonical', async (t) => {
  const state = new MeshState('n1')
  const at = (namespace: string, more: Partial<wire.Service> = {}) =>
    parseService({ ...serviceWire({ name: 'web', namespace, vips: ['10.96.0.1'] }), ...more })
  state.apply({
    services: [at('a', { visibility: wire.Visibility.NAMESPACE }), at('b'), at('c', { canonical: true })],
  })
  const found = (from: string) => state.serviceAt('', ip('10.96.0.1'), from)?.namespace
  t.same([found('a'), found('b'), found('x')], ['a', 'b', 'c'])
})

t.test('the longest block wins, an exact address before any', async (t) => {
  const state = new MeshState('n1')
  const service = (name: string, vip: string) => parseService(serviceWire({ name, vips: [vip] }))
  state.apply({
    services: [
      service('wide', '10.0.0.0/8'),
      service('narrow', '10.96.0.0/16'),
      service('exact', '10.96.0.1'),
    ],
  })
  const found = (address: string) => state.serviceAt('', ip(address), 'demo')?.name
  t.same([found('10.1.1.1'), found('10.96.9.9'), found('10.96.0.1')], ['wide', 'narrow', 'exact'])
  t.equal(found('11.0.0.1'), undefined)
})

t.test('of blocks: own namespace, then the longest, then the canonical', async (t) => {
  const state = new MeshState('n1')
  const block = (namespace: string, vip: string, more: Partial<wire.Service> = {}) =>
    parseService({ ...serviceWire({ name: 'web', namespace, vips: [vip] }), canonical: false, ...more })
  state.apply({
    services: [
      block('a', '10.0.0.0/8'),
      block('b', '10.96.0.0/16'),
      block('c', '10.0.0.0/9', { canonical: true }),
      block('d', '10.96.1.0/24', { visibility: wire.Visibility.NAMESPACE }),
    ],
  })
  const found = (from: string) => state.serviceAt('', ip('10.96.1.1'), from)?.namespace
  t.same([found('a'), found('d'), found('x')], ['a', 'd', 'b'])
})

t.test('listeners hear of local workloads and policies, after the state is complete', async (t) => {
  const state = new MeshState('n1')
  const heard: string[] = []
  using _watch = state.onChange(({ policies, added, removed }: Change) => {
    const names = (rows: Change['added']) => rows.map(({ name }) => name).join()
    heard.push(
      `${policies ? 'policies' : ''}+${names(added)} -${names(removed)} ${[...state.workloads()].length}`,
    )
  })
  const handler = addressHandler(state)
  handler.apply(list(workloadResource({ ...server, node: 'n1' })), [])
  handler.apply(list(workloadResource({ name: 'far', node: 'n2' })), [])
  handler.apply(list(workloadResource({ ...server, node: 'n1' })), [])
  authorizationHandler(state).apply(list(policyResource({ name: 'p' })), [])
  handler.apply([], ['Kubernetes//Pod/demo/server'])
  t.same(heard, ['+server - 1', '+ - 2', '+server -server 2', 'policies+ - 2', '+ -server 1'])
})

t.test('an unreadable policy is rejected and applies closed; its removal opens again', async (t) => {
  const state = new MeshState('n1')
  const handler = authorizationHandler(state)
  const rejected = handler.apply([{ name: 'demo/bad', version: '', bytes: Buffer.from([0xff]) }], [])
  t.equal(rejected[0]?.name, 'demo/bad')
  t.equal(state.policies.byName.get(policyName('demo', 'bad'))?.action, 'deny')
  handler.apply([], ['demo/bad'])
  t.equal(state.policies.byName.size, 0)
})

t.test('what only ranks may be unknown, what excludes may not', async (t) => {
  const parsed = (draft: Partial<wire.Service>) => {
    try {
      return parseService({ ...serviceWire({ name: 'web' }), ...draft })
    } catch (error) {
      return String(error)
    }
  }
  const scopes = (mode: number, ...given: number[]) =>
    parsed({
      loadBalancing: {
        mode: mode as wire.LoadBalancing_Mode,
        routingPreference: given as wire.LoadBalancing_Scope[],
        healthPolicy: 9 as wire.LoadBalancing_HealthPolicy,
      },
    })
  t.match(parsed({ ipFamilies: 9 as wire.IPFamilies }), { ipFamilies: 'Automatic' })
  const balancer = { preferences: ['Network', 'Region'], healthPolicy: 'OnlyHealthy' }
  t.match(scopes(2, 6, 1, 99, 2), { loadBalancer: balancer })
  t.match(scopes(1, 6, 1, 99), /unknown scope 99/)
  t.match(scopes(2, 0), /unknown scope 0/)
  t.match(scopes(7), /unknown load balancing mode 7/)
})

t.test('a block of IPv4 in IPv6 clothes covers IPv4 addresses', async (t) => {
  const state = new MeshState('n1')
  const mapped = Buffer.from('00000000000000000000ffff0a600000', 'hex')
  const wide = parseService({
    ...serviceWire({ name: 'wide' }),
    addresses: [{ network: '', address: mapped, length: 112 }],
  })
  const exact = parseService({
    ...serviceWire({ name: 'exact' }),
    addresses: [{ network: '', address: mapped, length: 128 }],
  })
  state.apply({ services: [wide, exact] })
  t.equal(state.serviceAt('', ip('10.96.7.7'), 'demo')?.name, 'wide')
  t.equal(state.serviceAt('', ip('10.96.0.0'), 'demo')?.name, 'exact')
  t.equal(state.serviceAt('', ip('10.97.0.1'), 'demo'), undefined)
  t.equal(state.serviceAt('other', ip('10.96.7.7'), 'demo'), undefined, 'in its network alone')
})

t.test('a name is a workload before it is a service', async (t) => {
  const state = new MeshState('n1')
  const uid = web as ReturnType<typeof parseWorkload>['uid']
  state.apply({ workloads: [{ ...parseWorkload(workloadWire(server)), uid }] })
  state.apply({ services: [parseService(serviceWire({ name: 'web', vips: ['10.96.0.1'] }))] })
  state.apply({ removed: [web] })
  t.equal([...state.workloads()].length, 0)
  t.equal([...state.services()].length, 1)
  state.apply({ removed: [web, 'no/such', 'nonsense'] })
  t.equal([...state.services()].length, 0)
})

t.test('the same pod twice: the one that is left is found when the other goes', async (t) => {
  const state = new MeshState('n1')
  const pod = { name: 'twin', namespace: 'demo', serviceAccount: 'twin' }
  const twin = (uid: string, tunnelProtocol: 0 | 1) =>
    parseWorkload(workloadWire({ ...pod, node: 'n1', addresses: ['10.0.0.7'], uid, tunnelProtocol }))
  const [entry, real] = [twin('c/x/WorkloadEntry/demo/twin', 1), twin('c//Pod/demo/twin', 0)]
  state.apply({ workloads: [real, entry] })
  t.equal(state.localWorkload(pod), real)
  t.equal(state.workloadAt('', ip('10.0.0.7')), real)
  state.apply({ removed: [real.uid] })
  t.equal(state.localWorkload(pod), entry)
  t.equal(state.workloadAt('', ip('10.0.0.7')), entry)
  t.ok(state.hasLocalIdentity(entry.identity))
  state.apply({ removed: [entry.uid] })
  t.equal(state.localWorkload(pod), undefined)
  t.notOk(state.hasLocalIdentity(entry.identity))
})

t.test('what one response removes and brings is there afterwards', async (t) => {
  const state = new MeshState('n1')
  const handler = addressHandler(state)
  const pod = workloadResource({ ...server, node: 'n1' })
  const service = serviceResource({ name: 'web', vips: ['10.96.0.1'] })
  for (let n = 0; n < 2; n++) {
    handler.apply([...list(pod), ...list(service)], [...Object.keys(pod), ...Object.keys(service)])
    t.equal([...state.workloads()].length, 1)
    t.equal(state.membersOf(parseService(serviceWire({ name: 'web' })).key).size, 1)
    t.equal(state.serviceAt('', ip('10.96.0.1'), 'demo')?.name, 'web')
  }
})

t.test('only the pods of this node are local', async (t) => {
  const state = new MeshState('n1')
  const names = { namespace: 'demo', name: 'server', serviceAccount: 'server' }
  state.apply({ workloads: [parseWorkload(workloadWire({ ...server, node: 'n2' }))] })
  t.equal(state.localWorkload(names), undefined)
  state.apply({ workloads: [parseWorkload(workloadWire({ ...server, node: 'n1' }))] })
  t.equal(state.localWorkload(names)?.node, 'n1')
  t.equal(state.localWorkload({ ...names, serviceAccount: 'another' }), undefined)
  state.apply({ workloads: [parseWorkload(workloadWire({ ...server, node: 'n2' }))] })
  t.equal(state.localWorkload(names), undefined, 'it has moved')
  t.equal(state.workloadAt('', ip('10.0.0.2'))?.node, 'n2')
})

t.test('what is computed of a service hears of members that go, not of ones that are replaced', async (t) => {
  const state = new MeshState('n1')
  const service = parseService(serviceWire({ name: 'web', ports: { 80: 8080 } }))
  state.apply({ services: [service] })
  const heard: string[] = []
  state.derive(service.key, 'listener', () => ({
    update: (_, workload) => heard.push(workload?.addresses.join() ?? 'gone'),
  }))
  const member = parseWorkload(workloadWire(server))
  state.apply({ workloads: [member] })
  state.apply({ workloads: [parseWorkload(workloadWire({ ...server, addresses: ['10.0.0.3'] }))] })
  t.same(heard.splice(0), ['10.0.0.2', '10.0.0.3'])
  state.apply({ workloads: [parseWorkload(workloadWire({ ...server, services: {} }))] })
  t.same(heard.splice(0), ['gone'], 'it is a member no longer')
  state.apply({ workloads: [member] })
  state.apply({ removed: [member.uid] })
  t.same(heard, ['10.0.0.2', 'gone'])
})
