import t from 'tap'
import { ip } from '#base'
import { failedEndpoint, finishRoute, type MeshState, parseWorkload } from '../../../ztunnel/state/index.ts'
import { type ServiceDraft, type WorkloadDraft, workloadWire } from '../../fakes/mesh.ts'
import { routeText } from '../../helpers/route-oracle.ts'
import {
  alt,
  ask,
  eastWest,
  eastWest2,
  far,
  gatewayService,
  id,
  meshOf,
  near,
  service,
  textOf,
  through,
  waypoint,
  waypointService,
  wp,
} from '../../helpers/two-networks.ts'

t.test('another gateway, another waypoint pod, then nobody: what failed is not asked again', async (t) => {
  const tried = new Set<NonNullable<ReturnType<typeof failedEndpoint>>>()
  const next = (state: MeshState) => {
    const route = ask(state, '10.96.0.1:80', { tried })
    const failed = failedEndpoint(route)
    if (failed !== undefined) tried.add(failed)
    return 'via' in route ? route.via.address : textOf(route)
  }
  const remote = meshOf([far, eastWest, eastWest2], [service, gatewayService])
  t.same([next(remote), next(remote), next(remote)], ['192.0.2.1', '192.0.2.2', 'reject unknown-gateway'])
  tried.clear()
  const pods = ['10.0.0.8', '10.0.0.9'].map((address) => ({
    ...waypoint,
    name: `wp-${address}`,
    serviceAccount: 'wp',
    network: '',
    addresses: [address],
  }))
  const local = meshOf([...pods, near], [{ ...service, waypoint: wp }, waypointService])
  t.same([next(local), next(local), next(local)], ['10.0.0.8', '10.0.0.9', 'reject waypoint-unavailable'])
})

t.test('an ejected endpoint is passed over while there is another, also one further away', async (t) => {
  const other: WorkloadDraft = { ...near, name: 'other', addresses: ['10.0.0.3'], node: 'n2' }
  const nodes = { mode: 2 as const, routingPreference: [4 as const], healthPolicy: 0 as const }
  const state = meshOf([{ ...near, node: 'n1' }, other], [{ ...service, loadBalancing: nodes }])
  const uid = (name: string) => parseWorkload(workloadWire({ ...near, name })).uid
  const via = (...ejected: string[]) => {
    const route = ask(state, '10.96.0.1:80', { ejected: new Set(ejected.map(uid)) })
    return 'via' in route ? route.via.address : route.kind
  }
  t.same(
    [via(), via('near'), via('other'), via('near', 'other')],
    ['10.0.0.2', '10.0.0.3', '10.0.0.2', '10.0.0.2'],
  )
})

t.test('a name that was resolved finishes its route', async (t) => {
  const finished = (drafts: WorkloadDraft[], services: ServiceDraft[], address: string) => {
    const route = ask(meshOf(drafts, services), '10.96.0.1:80')
    if (route.kind !== 'resolve') throw new Error(route.kind)
    return routeText(finishRoute(route.way, ip(address)))
  }
  const named = { ...near, addresses: [], hostname: 'db.example' }
  const plain = { ...named, tunnelProtocol: 0 as const }
  t.equal(finished([plain], [service], '192.0.2.9'), 'direct 192.0.2.9:8080 service-endpoint')
  const meshed = `${id('near')},${alt} service-endpoint`
  t.equal(finished([named], [service], 'fd00::9'), `hbone [fd00::9]:15008 [fd00::9]:8080 ${meshed}`)
  const balancer = { ...eastWest, addresses: [], hostname: 'lb.example' }
  t.equal(
    finished([far, balancer], [service, gatewayService], '192.0.2.7'),
    through('192.0.2.7:15008', 'remote-endpoint'),
  )
})

t.test('a thousand connections to a service of five thousand endpoints look through them once', async (t) => {
  const many = Array.from({ length: 5_000 }, (_, n) => ({
    ...near,
    name: `pod-${n}`,
    addresses: [`10.1.${n >> 8}.${n & 255}`],
  }))
  const state = meshOf(many, [service])
  let looked = 0
  const members = state.membersOf.bind(state)
  state.membersOf = (key) => {
    looked++
    return members(key)
  }
  const seen = new Set<string>()
  for (let n = 0; n < 1_000; n++) {
    const route = ask(state, '10.96.0.1:80', { random: () => n / 1_000 })
    if ('via' in route) seen.add(route.via.address)
  }
  t.equal(seen.size, 1_000)
  t.equal(looked, 1)
  state.apply({ removed: ['Kubernetes//Pod/demo/pod-0'] })
  t.not(textOf(ask(state, '10.96.0.1:80')), 'hbone 10.1.0.0:15008')
  t.equal(looked, 1, 'also after a change')
})
