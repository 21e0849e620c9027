import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { fixed, kinds, reflect } from '#kube'
import { silent } from '#telemetry'
import { followRoutes, labelAskers } from '../../../controller/follow-routes.ts'
import { meshFrom } from '../../../controller/collections/index.ts'
import { lead } from '../../../controller/reconcile/index.ts'
import { rejectedRoutes } from '../../../controller/rejected-routes.ts'
import { routeWriters } from '../../../controller/route-writers.ts'
import { inputsOf, settings } from '../collections/world.ts'
import { cluster, find, group, ok } from '../gateways/cluster.ts'
import { service } from '../mesh-kit.ts'
import { type Client, eventually, type Parsed, startServer } from '../../sandbox/api/harness.ts'

t.setTimeout(300_000) // an API server, on a machine that may be slow

const crds = ['gateway-api-routes', 'virtual-service', 'destination-rule'].flatMap((name) =>
  parseAllDocuments(
    readFileSync(new URL(`../../../manifests/base/crds/${name}.yaml`, import.meta.url), 'utf8'),
  ).map((document): Parsed => document.toJS()),
)
const istioPath = (plural: string) => `/apis/networking.istio.io/v1/namespaces/shop/${plural}`
const pathOf = (plural: string) => `${group}/namespaces/shop/${plural}`
const plurals = ['httproutes', 'grpcroutes', 'tlsroutes', 'tcproutes', 'referencegrants']

/** Our CRDs, our rights, the writers of routes, and two services. */
async function start(c: Client) {
  const client = await cluster(c)
  for (const crd of crds) await ok(c, 'POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  for (const plural of plurals)
    await eventually(async () => ((await c.call('GET', pathOf(plural))).status === 200 ? true : undefined))
  for (const plural of ['virtualservices', 'destinationrules'])
    await eventually(async () => ((await c.call('GET', istioPath(plural))).status === 200 ? true : undefined))
  const stop = new AbortController()
  const all = { client, signal: stop.signal, log: silent }
  const inputs = {
    ...inputsOf({ services: [service('shop', 'order'), service('shop', 'other')] as never }),
    gateways: reflect(client, kinds.Gateway, all),
  }
  const routes = await followRoutes({
    ...all,
    settings,
    inputs,
    mesh: meshFrom(inputs, settings),
    askers: labelAskers(client, stop.signal, silent),
    meshDefaults: fixed('MeshDefaults', {}),
  })
  const done = lead(
    routeWriters(
      { ...all, routes, rejectedRoutes: rejectedRoutes(routes.routes, fixed('Rejections', {})) },
      () => true,
    ),
    stop.signal,
  )
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await done
      client[Symbol.dispose]()
    },
  }
}

const rules = [{ backendRefs: [{ name: 'other', port: 80 }] }]
const parentRefs = [{ group: '', kind: 'Service', name: 'order' }]
const objects = [
  ['httproutes', 'HTTPRoute', { parentRefs, rules }],
  ['grpcroutes', 'GRPCRoute', { parentRefs: [{ ...parentRefs[0], port: 81 }], rules }],
  ['tlsroutes', 'TLSRoute', { parentRefs, hostnames: ['a.example.com'], rules }],
  ['tcproutes', 'TCPRoute', { parentRefs, rules }],
] as const

t.test('with our CRDs and our rights every kind of route is read and its status written', async (t) => {
  await using c = await startServer()
  await using _running = await start(c)
  for (const [plural, kind, spec] of objects)
    await ok(c, 'POST', pathOf(plural), {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind,
      metadata: { name: 'r', namespace: 'shop' },
      spec,
    })
  for (const [plural, kind] of objects) {
    const parents = await eventually(async () => (await find(c, `${pathOf(plural)}/r`))?.status?.parents)
    t.match(parents, [{ controllerName: 'istio.io/gateway-controller', parentRef: { name: 'order' } }], kind)
    const told = parents[0].conditions.map((one: Parsed) => `${one.type}=${one.reason}`)
    const accepted = {
      HTTPRoute: 'Accepted',
      GRPCRoute: 'NoMatchingParent',
      TLSRoute: 'NotAllowedByListeners',
      TCPRoute: 'NotAllowedByListeners',
    }
    t.strictSame(
      told,
      [`Accepted=${accepted[kind]}`, 'ResolvedRefs=ResolvedRefs', 'ResolvedWaypoints=ResolvedWaypoints'],
      kind,
    )
  }
})

t.test(
  'VirtualServices and DestinationRules are read, and told by conditions what they come to',
  async (t) => {
    await using c = await startServer()
    await using _running = await start(c)
    const told = async (plural: string, kind: string, spec: unknown) => {
      const metadata = { name: 'r', namespace: 'shop' }
      await ok(c, 'POST', istioPath(plural), { apiVersion: 'networking.istio.io/v1', kind, metadata, spec })
      const conditions = await eventually(
        async () => (await find(c, `${istioPath(plural)}/r`))?.status?.conditions,
      )
      return conditions.map((one: Parsed) => `${one.type}=${one.status}/${one.reason}`)
    }
    const http = [{ route: [{ destination: { host: 'other' } }] }]
    t.strictSame(await told('virtualservices', 'VirtualService', { hosts: ['order'], http }), [
      'lateen.dev/Accepted=False/NoWaypoint',
    ])
    const trafficPolicy = { loadBalancer: { simple: 'MOON' } }
    t.strictSame(await told('destinationrules', 'DestinationRule', { host: 'order', trafficPolicy }), [
      'lateen.dev/Accepted=True/Accepted',
      'lateen.dev/PartiallyInvalid=True/UnsupportedValue',
    ])
    const none = await c.call('POST', istioPath('destinationrules'), {
      body: {
        apiVersion: 'networking.istio.io/v1',
        kind: 'DestinationRule',
        metadata: { name: 'x', namespace: 'shop' },
        spec: {},
      },
    })
    t.equal(none.status, 422, 'no host')
  },
)

t.test('the CRDs refuse what could not be meant, and fill in what is usual', async (t) => {
  await using c = await startServer()
  await using _running = await start(c)
  const post = (plural: string, kind: string, spec: unknown) =>
    c.call('POST', pathOf(plural), {
      body: {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind,
        metadata: { name: 'x', namespace: 'shop' },
        spec,
      },
    })
  t.equal((await post('tlsroutes', 'TLSRoute', { parentRefs, rules })).status, 422, 'no hostnames')
  t.equal(
    (await post('tcproutes', 'TCPRoute', { parentRefs, rules: [...rules, ...rules] })).status,
    422,
    'two rules',
  )
  t.equal(
    (await post('httproutes', 'HTTPRoute', { parentRefs: [{ name: 'order', port: 0 }] })).status,
    422,
    'port 0',
  )
  t.equal((await post('referencegrants', 'ReferenceGrant', { from: [], to: [] })).status, 422, 'of nobody')
  const usual = (await post('httproutes', 'HTTPRoute', { parentRefs: [{ name: 'ingress' }] })).body
  t.match(usual.spec, {
    parentRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway' }],
    rules: [{ matches: [{ path: { type: 'PathPrefix', value: '/' } }] }],
  })
})
