import t from 'tap'
import { fixed, type KubeObject, keyOf, type Kind, kinds, type Pod } from '#kube'
import { addressTypeUrl, ads } from '#wire'
import { DeltaClient } from '../../bench/control-plane/client.ts'
import {
  firstState,
  ground,
  nodeName,
  podObject,
  type PodState,
  serviceObject,
  sliceObject,
} from '../../bench/control-plane/mesh.ts'
import type { Scanned } from '../../bench/control-plane/scan.ts'
import { meshFrom } from '../../controller/collections/index.ts'
import { parseConfig } from '../../controller/config.ts'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import { acceptTokens, controllerFor } from './mesh-kit.ts'

/** A small one of what `npm run bench -- control-plane` measures; what is counted here does not depend on the machine. */
const size = { pods: 600, services: 60, nodes: 10 }
const count = 8
const changes = 120

const meshObjects = () => {
  const states = Array.from({ length: size.pods }, () => firstState)
  return [
    ...ground(size),
    ...Array.from({ length: size.services }, (_, n) => serviceObject(n)),
    ...Array.from({ length: size.services }, (_, n) => sliceObject(n, states, size)),
    ...states.map((state, n) => podObject(n, state, size)),
  ]
}

/** Names and versions as a controller would serve them that starts now. */
function fresh(kube: FakeKube): ReadonlyMap<string, string> {
  const rows = <T extends KubeObject>(kind: Kind<T>) =>
    fixed(kind.plural, Object.fromEntries(kube.all(kind).map((row) => [keyOf(row), row])))
  const mesh = meshFrom(
    {
      pods: rows(kinds.Pod),
      services: rows(kinds.Service),
      slices: rows(kinds.EndpointSlice),
      namespaces: rows(kinds.Namespace),
      nodes: rows(kinds.Node),
      authorizationPolicies: rows(kinds.AuthorizationPolicy),
      peerAuthentications: rows(kinds.PeerAuthentication),
      serviceEntries: rows(kinds.ServiceEntry),
      workloadEntries: rows(kinds.WorkloadEntry),
      gateways: rows(kinds.Gateway),
      gatewayClasses: rows(kinds.GatewayClass),
      meshConfig: fixed('MeshConfig', {}),
    },
    { ...parseConfig({}), trustDomain: 'cluster.local', rootNamespace: 'istio-system' },
  )
  return new Map(
    [...mesh.addresses.list(), ...mesh.authorizations.list()].map(({ name, version }) => [name, version]),
  )
}

const isSame = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>) =>
  a.size === b.size && [...a].every(([name, version]) => b.get(name) === version)

/** How many resources are encoded from now on. */
function countEncoded(t: { teardown: (end: () => void) => void }): () => number {
  const { DeltaDiscoveryResponse } = ads
  const encode = DeltaDiscoveryResponse.encode.bind(DeltaDiscoveryResponse)
  let encoded = 0
  DeltaDiscoveryResponse.encode = (message, writer) => {
    encoded += message.resources.length
    return encode(message, writer)
  }
  t.teardown(() => void (DeltaDiscoveryResponse.encode = encode))
  return () => encoded
}

t.test(`${size.pods} pods, ${count} clients`, { timeout: 120_000 }, async (t) => {
  const encoded = countEncoded(t)
  await using kube = await FakeKube.start(...meshObjects())
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const pushes = async () =>
    Number(/^pilot_xds_pushes\{type="wds"\} (\d+)$/m.exec(await running.metrics())?.[1] ?? 0)
  const responses: Scanned[] = []
  const connect = (held: ReadonlyMap<string, string>, number: number) => {
    const heard = (_: DeltaClient, response: Scanned) => void responses.push(response)
    const { root: rootPem, app } = running
    const options = { number, port: app.ports.xds, rootPem, node: nodeName(number), keys: undefined, heard }
    return new DeltaClient(options, held)
  }
  let clients = Array.from({ length: count }, (_, n) => connect(new Map(), n))
  t.teardown(() => clients.forEach((client) => client.close()))
  const synced = () => until(() => clients.every(({ syncedMs }) => syncedMs > 0), 'all have everything')
  const settled = (want: ReadonlyMap<string, string>) =>
    until(() => clients.every(({ held }) => isSame(held, want)), 'all have what there is')

  await synced()
  const first = fresh(kube)
  await settled(first)
  t.ok(first.size > size.pods + size.services)
  t.equal(responses.filter(({ typeUrl }) => typeUrl === addressTypeUrl).length, count, 'one response each')
  t.equal(encoded(), first.size, 'each resource was encoded once, not once per client')

  await t.test('who comes back and has everything is sent nothing', async (t) => {
    responses.length = 0
    const old = clients
    for (const client of old) client.close()
    clients = old.map(({ held }, n) => connect(held, n))
    await synced()
    t.strictSame(
      responses.map(({ resources, removed }) => [...resources, ...removed]),
      Array.from({ length: 2 * count }, () => []),
    )
    t.ok(Math.max(...responses.map(({ bytes }) => bytes)) < 200, 'not even a hundredth of a MiB')
    t.equal(encoded(), first.size, 'and nothing was encoded for it')
  })

  await t.test('a change is one resource for each, and a change that says nothing new is none', async (t) => {
    const before = { pushes: await pushes(), encoded: encoded() }
    const restarted = podObject(0, firstState, size) as unknown as Pod
    kube.put({ ...restarted, status: { ...restarted.status, startTime: '2026-11-02T00:00:00Z' } })
    kube.put(podObject(7, { ...firstState, revision: 1 }, size))
    await settled(fresh(kube))
    t.equal((await pushes()) - before.pushes, count)
    t.equal(encoded() - before.encoded, 1)
  })

  await t.test('after many changes everybody has what a fresh computation gives', async (t) => {
    const states: PodState[] = Array.from({ length: size.pods }, () => firstState)
    const before = encoded()
    for (let i = 0; i < changes; i++) {
      const n = (i * 37) % size.pods
      const old = states[n] ?? firstState
      if (i % 3 === 0) {
        const { name = '', namespace = '' } = podObject(n, old, size).metadata
        kube.remove(kinds.Pod, name, namespace)
      }
      states[n] = i % 3 === 0 ? { ...old, life: old.life + 1 } : { ...old, ready: !old.ready }
      kube.put(podObject(n, states[n], size))
      kube.put(sliceObject(n % size.services, states, size))
      await new Promise((turn) => setImmediate(turn)) // so that they come in many publications
    }
    await settled(fresh(kube))
    t.ok(encoded() - before <= 2 * changes, 'the cost is that of what changed')
  })
})
