import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import type { Cluster } from '#kube'
import { type ApiCall, ApiFront, isLease } from '../fakes/api-front.ts'
import { ControllerProcess } from '../helpers/controller-process.ts'
import { type Client, eventually, type Parsed, startServer } from '../sandbox/api/harness.ts'
import { applyAs, cluster, find, gateways, ok } from './gateways/cluster.ts'
import { adsStream, names, ztunnelNode } from './mesh-kit.ts'

t.setTimeout(300_000)
const leaseMs = 4_000
const system = '/api/v1/namespaces/istio-system'
const leases = '/apis/coordination.k8s.io/v1/namespaces/istio-system/leases'
const deployments = '/apis/apps/v1/namespaces/shop/deployments'
const entries = '/apis/networking.istio.io/v1/namespaces/shop/serviceentries'
const jobs = [
  'istio-gateway-deployment-default',
  'istio-ip-autoallocate',
  'istio-ip-autoallocate-default',
  'istio-namespace-controller-election',
  'istio-status-leader',
  'istio-status-leader-default',
]

const gateway = (name: string) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name, namespace: 'shop' },
  spec: {
    gatewayClassName: 'istio-waypoint',
    listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
  },
})
const entry = (name: string) => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name, namespace: 'shop' },
  spec: { hosts: [`${name}.example.com`], ports: [{ number: 80, name: 'http' }], resolution: 'DNS' },
})
const policies = '/apis/security.istio.io/v1/namespaces/shop/authorizationpolicies'
const policy = {
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'p', namespace: 'shop' },
  spec: { action: 'DENY', rules: [{ to: [{ operation: { ports: ['1'] } }] }] },
}
const until = (check: () => Promise<boolean>) =>
  eventually(async () => ((await check()) ? true : undefined), 60_000)

const crds = [
  'authorization-policy',
  'peer-authentication',
  'service-entry',
  'workload-entry',
  'workload-group',
]

/** An API server with everything that a controller expects, and what istiod may do there. */
async function world(c: Client): Promise<Cluster> {
  for (const name of crds) {
    const text = readFileSync(new URL(`../../manifests/base/crds/${name}.yaml`, import.meta.url), 'utf8')
    for (const crd of parseAllDocuments(text))
      await ok(c, 'POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd.toJS())
  }
  using client = await cluster(c)
  const labels = { 'istio.io/use-waypoint': 'nowhere' }
  await ok(c, 'PATCH', '/api/v1/namespaces/shop', { metadata: { labels } }, 'application/merge-patch+json')
  return client.cluster
}

/** As the kubelet gives it to a pod. */
async function ztunnelToken(c: Client): Promise<string> {
  const metadata = { name: 'ztunnel', namespace: 'istio-system' }
  await ok(c, 'POST', `${system}/serviceaccounts`, { apiVersion: 'v1', kind: 'ServiceAccount', metadata })
  await ok(c, 'POST', `${system}/pods`, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata,
    spec: { serviceAccountName: 'ztunnel', containers: [{ name: 'istio-proxy', image: 'x' }] },
  })
  const { status } = await ok(c, 'POST', `${system}/serviceaccounts/ztunnel/token`, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { audiences: ['istio-ca'], boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'ztunnel' } },
  })
  return status.token
}

const holders = async (c: Client): Promise<Readonly<Record<string, string>>> => {
  const { items } = await find(c, leases)
  return Object.fromEntries(items.map(({ metadata, spec }: Parsed) => [metadata.name, spec.holderIdentity]))
}
const leadsAll = async (c: Client, who: string) => {
  const held = await holders(c)
  return jobs.every((name) => held[name] === who)
}

/** Versions of all that a controller writes, apart from its leases. */
async function versions(c: Client): Promise<Readonly<Record<string, string>>> {
  const lists = [deployments, gateways, entries, `${system}/configmaps`, '/api/v1/namespaces/shop/configmaps']
  const more = [
    '/api/v1/namespaces/shop/services',
    '/api/v1/namespaces/shop/serviceaccounts',
    `${system}/secrets`,
  ]
  const found: Record<string, string> = {}
  for (const path of [...lists, ...more])
    for (const { metadata } of (await find(c, path)).items)
      found[`${path}/${metadata.name}`] = metadata.resourceVersion
  return found
}

const isDeployed = async (c: Client, name: string) => {
  const { status } = (await find(c, `${gateways}/${name}`)) ?? {}
  return Boolean(await find(c, `${deployments}/${name}`)) && status?.conditions?.length === 2
}
const hasAddresses = async (c: Client, name: string) =>
  (await find(c, `${entries}/${name}`))?.status?.addresses?.length === 2
const start = (front: ApiFront, name: string) =>
  ControllerProcess.start(front.cluster, { POD_NAME: name, LEASE_DURATION: `${leaseMs}ms` })

t.test(
  'a leader that is killed is followed; nothing is written twice, and clients notice nothing',
  async (t) => {
    await using c = await startServer()
    const behind = await world(c)
    await using frontA = await ApiFront.start(behind)
    await using frontB = await ApiFront.start(behind)
    await using a = await start(frontA, 'a')
    await applyAs(c, 'test', `${gateways}/before`, gateway('before'))
    await applyAs(c, 'test', `${entries}/before`, entry('before'))
    await until(() => leadsAll(c, 'a'))
    await until(async () => (await isDeployed(c, 'before')) && (await hasAddresses(c, 'before')))
    await using b = await start(frontB, 'b')

    const token = await ztunnelToken(c)
    const root = (await find(c, `${system}/configmaps/istio-ca-root-cert`)).data['root-cert.pem']
    const stream = (to: ControllerProcess) => adsStream({ ads: () => to.ads(root) }, token)
    using ofA = stream(a)
    using ofB = stream(b)
    const before = 'shop/before.example.com'
    for (const each of [ofA, ofB]) {
      each.send({ node: ztunnelNode })
      t.ok(names(await each.next()).includes(before), 'each serves')
    }
    const told = Object.fromEntries(
      (ofA.responses[0]?.resources ?? []).map(({ name, version }) => [name, version]),
    )
    t.strictSame(
      frontB.writes((call) => !isLease(call)),
      [],
      'who does not lead writes nothing',
    )
    const written = await versions(c)
    await a.kill()
    const lost = performance.now()
    await ofA.error()
    // Its clients go to the other one, and say what they have.
    using again = stream(b)
    again.send({ node: ztunnelNode, initialResourceVersions: told })
    await applyAs(c, 'test', `${gateways}/after`, gateway('after'))
    await applyAs(c, 'test', `${entries}/after`, entry('after'))
    for (const each of [again, ofB])
      while (!names(await each.next()).includes('shop/after.example.com')) t.notOk(each.failed())
    t.notOk(
      again.responses.some((response) => names(response).includes(before)),
      'what a client has is not sent again',
    )
    await until(() => leadsAll(c, 'b'))
    await until(async () => (await isDeployed(c, 'after')) && (await hasAddresses(c, 'after')))
    const event = await eventually(() => find(c, '/api/v1/namespaces/shop/events/shop.use-waypoint'), 60_000)
    t.match(event.message, /names shop\/nowhere/, 'a label that leads nowhere')
    for (const name of jobs) {
      const ofJob = (call: ApiCall) => isLease(call) && call.path.endsWith(`/${name}`)
      const renewed = frontA.writes(ofJob).at(-1)?.atMs ?? Infinity
      const taken = frontB.writes(ofJob)[0]?.atMs ?? 0
      // The last renewal may have died with the leader: then the one before it counts.
      t.ok(taken - renewed > leaseMs / 2, `${name} is not taken before it has run out`)
      t.comment(`${name}: taken ${Math.round(taken - lost)} ms after the end, lease ${leaseMs} ms`)
    }
    t.match(await versions(c), written, 'what was there is as it was')
    t.notOk(ofB.failed(), 'and a stream of the other replica never broke')
  },
)

t.test('a leader that lost the API for its lease has stopped writing before another starts', async (t) => {
  await using c = await startServer()
  const behind = await world(c)
  await using frontA = await ApiFront.start(behind)
  await using frontB = await ApiFront.start(behind)
  await using _a = await start(frontA, 'a')
  await until(() => leadsAll(c, 'a'))
  await using _b = await start(frontB, 'b')
  // It hears of the Gateway, cannot write what it asks for, and tries again; of leases it hears nothing at all.
  const isWrite = (call: ApiCall) => !isLease(call) && call.method === 'PATCH'
  frontA.fate = (call) => (isLease(call) ? 'hang' : isWrite(call) ? 500 : 'pass')
  await applyAs(c, 'test', `${gateways}/between`, gateway('between'))
  await until(async () => frontA.writes(isWrite).length > 2)
  await until(() => leadsAll(c, 'b'))
  await until(() => isDeployed(c, 'between'))
  const last = frontA.writes(isWrite).at(-1)?.atMs ?? Infinity
  const taken = frontB.writes(isWrite)[0]?.atMs ?? 0
  t.ok(
    last < taken,
    `the last attempt of the old one was ${Math.round(taken - last)} ms before the first of the new one`,
  )
  const tries = frontA.writes(isWrite).length
  frontA.fate = () => 'pass'
  const asked = frontA.calls.length
  await until(async () => frontA.calls.slice(asked).filter(isLease).length > 12)
  t.equal(frontA.writes(isWrite).length, tries, 'when it is back, it does not lead')
  t.ok(await leadsAll(c, 'b'))
})

t.test('a leader that was stopped for longer than its lease writes nothing when it goes on', async (t) => {
  await using c = await startServer()
  const behind = await world(c)
  await using frontA = await ApiFront.start(behind)
  await using frontB = await ApiFront.start(behind)
  await using a = await start(frontA, 'a')
  await until(() => leadsAll(c, 'a'))
  await using _b = await start(frontB, 'b')
  // It is about to try a write again when it is stopped, and that is what it finds first when it goes on.
  const isWrite = (call: ApiCall) => !isLease(call)
  frontA.fate = (call) => (call.path.includes('/authorizationpolicies/') && isWrite(call) ? 500 : 'pass')
  await applyAs(c, 'test', `${policies}/p`, policy)
  await until(async () => frontA.writes(({ path }) => path.includes('/authorizationpolicies/')).length >= 2)
  a.child.kill('SIGSTOP')
  await until(() => leadsAll(c, 'b'))
  await until(async () => (await find(c, `${policies}/p`)).status?.conditions?.length > 0)
  const before = frontA.writes(isWrite).length
  const asked = frontA.calls.length
  a.child.kill('SIGCONT')
  await until(async () => frontA.calls.slice(asked).filter(isLease).length > 12)
  t.strictSame(frontA.writes(isWrite).slice(before), [], 'it is the other one’s to write')
  t.ok(await leadsAll(c, 'b'))
})
