import { once } from 'node:events'
import http from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { policyResource, serviceResource, workloadResource } from '../fakes/mesh.ts'
import { meshProxy, noOps, ownAddress, policyOf, rule, type Scene, scene, upstreamOf } from './kit.ts'

t.setTimeout(60_000)

const client = 'cluster.local/ns/demo/sa/client'
const waypoint = 'cluster.local/ns/demo/sa/waypoint'
const origin = { kind: 'VirtualService', name: 'demo/web' } as const

const told = (s: Scene, policy: Readonly<Record<string, { bytes: Uint8Array }>>) =>
  s.running.push(authorizationTypeUrl, policy)

t.test('a route of somebody else is no way past the policies of a service', async (t) => {
  let asked = 0
  const vault = await upstreamOf(t, ownAddress(0), (request, response) => {
    asked++
    if (request.url === '/stream') response.write('data: 1\n\n')
    else response.end('vault')
  })
  const s = await scene(t, {})
  await meshProxy(t, s.ca, 'vault', vault)
  const key = 'demo/vault.demo.svc.cluster.local'
  const draft = { name: 'vault', node: 'n2', addresses: [vault.address] }
  await s.running.push(addressTypeUrl, {
    ...workloadResource({ ...draft, services: { [key]: { 80: vault.port } } }),
    ...serviceResource({ name: 'vault', vips: ['10.96.0.12'], ports: { 80: 1 }, waypoint: '127.0.0.1' }),
  })
  const to = { kind: 'service', service: key, port: 80 } as const
  const destinations = [{ weight: 1, to, requestHeaders: noOps, responseHeaders: noOps }]
  const policies = [policyOf({}), policyOf({ destination: to })]
  await s.route({ http: [rule({}, { destinations })] }, policies)
  t.equal((await s.get('/')).body, 'vault')
  const ofVault = [{ kind: 'Service', namespace: 'demo', name: 'vault' }] as const
  await s.policy('only-bank', 'allow', ['cluster.local/ns/demo/sa/bank'], ofVault)
  t.equal((await s.get('/')).status, 200, 'who may call the pods themselves may be sent there (Istio)')
  await told(s, policyResource({ name: 'only-waypoint', principals: [waypoint] }))
  t.equal((await s.get('/', { authority: '10.96.0.12:80' })).status, 403)
  t.equal((await s.get('/')).status, 403, 'its pods are left to the waypoint, which asks for vault')
  t.equal(asked, 2)
  await s.route(
    {
      http: [rule()],
      protocol: 'tcp',
      l4: [{ name: 'l4', origin, match: {}, destinations: [{ weight: 1, to }] }],
    },
    policies,
  )
  const socket = connect({ host: '127.0.0.1', port: await s.front() }).on('error', () => undefined)
  await new Promise<void>((resolve) => socket.once('close', () => resolve()))
  t.equal(socket.bytesRead, 0, 'nor a connection')
  await s.policy('only-bank', 'allow', [client], ofVault)
  await s.route({ http: [rule({}, { destinations })] }, policies)
  t.equal((await s.get('/')).body, 'vault', 'whom both let in is let in')
  const request = http.get({ host: '127.0.0.1', port: await s.front(), agent: false, path: '/stream' })
  request.on('error', () => undefined)
  const [stream] = (await once(request, 'response')) as [http.IncomingMessage]
  stream.on('error', () => undefined)
  await once(stream, 'data')
  const ended = new Promise((resolve) => stream.once('close', resolve))
  await s.policy('only-bank', 'allow', ['cluster.local/ns/demo/sa/bank'], ofVault)
  await ended
  t.equal(stream.complete, false, 'for as long as they do')
})

t.test(
  'an endpoint that somebody else has put at the address of a pod is no way past its policies',
  async (t) => {
    let asked = 0
    const vault = await upstreamOf(t, ownAddress(0), (_, response) => {
      asked++
      response.end('vault')
    })
    const s = await scene(t, {})
    await meshProxy(t, s.ca, 'vault', vault)
    const key = 'other/away.example.com'
    await s.running.push(addressTypeUrl, {
      ...workloadResource({ name: 'vault', node: 'n2', addresses: [vault.address] }),
      ...workloadResource({
        name: 'away',
        namespace: 'other',
        uid: 'Kubernetes/networking.istio.io/ServiceEntry/other/away/1',
        addresses: [vault.address],
        services: { [key]: { 80: vault.port } },
      }),
      ...serviceResource({
        name: 'away',
        namespace: 'other',
        hostname: 'away.example.com',
        vips: ['10.96.0.13'],
        ports: { 80: 1 },
        waypoint: '127.0.0.1',
        subjectAltNames: ['spiffe://cluster.local/ns/demo/sa/vault'],
      }),
    })
    const authority = '10.96.0.13:80'
    t.equal((await s.get('/', { authority })).body, 'vault', 'where it has none')
    for (const [name, principals] of [
      ['only-bank', ['cluster.local/ns/demo/sa/bank']],
      ['only-waypoint', [waypoint]],
    ] as const) {
      await told(s, policyResource({ name: 'some', principals: [...principals] }))
      t.equal((await s.get('/', { authority })).status, 403, name)
    }
    t.equal(asked, 1)
    await told(s, policyResource({ name: 'some', principals: [client] }))
    t.equal((await s.get('/', { authority })).body, 'vault', 'whom it lets in itself is let in')
    const machine = {
      addresses: [vault.address],
      uid: 'Kubernetes/networking.istio.io/WorkloadEntry/a/vault',
    }
    await s.running.push(addressTypeUrl, workloadResource({ name: 'vault', node: 'n2', ...machine }), [
      'Kubernetes//Pod/demo/vault',
    ])
    await told(s, policyResource({ name: 'some', principals: ['cluster.local/ns/demo/sa/bank'] }))
    t.equal(
      (await s.get('/', { authority })).body,
      'vault',
      'what is no pod has no say: anybody can put it there',
    )
  },
)
