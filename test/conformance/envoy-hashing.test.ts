import http from 'node:http'
import t, { type Test } from 'tap'
import { parseWorkload } from '#mesh'
import type { LoadBalancer } from '#routes'
import { workloadWire } from '../fakes/mesh.ts'
import { findEnvoy, startEnvoy } from '../helpers/envoy.ts'
import type { Json } from '../helpers/envoy-config.ts'
import { listen } from '../lib/http/support.ts'
import { policyOf } from '../waypoint/kit.ts'
import { hashOf, newHost } from '../../waypoint/upstream/index.ts'
import { pickerOf } from '../../waypoint/upstream/picker.ts'
import { envoyCluster, envoyListener } from './parity/envoy-routes.ts'
import { forwardTo, ruleOf } from './parity/case-kit.ts'

// Who is hashed to an endpoint by an Envoy is hashed to the same one by a waypoint.

const found = await findEnvoy()
const skip = 'missing' in found && found.missing
t.setTimeout(120_000)

const users = 300
type Kind = Readonly<{
  balancer: 'ring-hash' | 'maglev'
  weights: readonly number[]
  minimumRingSize?: number
}>
const kinds: Readonly<Record<string, Kind>> = {
  ring: { balancer: 'ring-hash', weights: [1, 1, 1, 1] },
  'ring-of-three': { balancer: 'ring-hash', weights: [1, 1, 1] },
  'ring-small': { balancer: 'ring-hash', weights: [1, 2, 3, 1], minimumRingSize: 16 },
  'ring-weighted': { balancer: 'ring-hash', weights: [1, 2, 3, 1] },
  maglev: { balancer: 'maglev', weights: [1, 1, 1, 1] },
  'maglev-weighted': { balancer: 'maglev', weights: [1, 2, 3, 1] },
}
const keys = [
  { kind: 'header', name: 'x-user' },
  { kind: 'query', name: 'q' },
] as const

/** Applications that say which they are, in the order in which rings have them. */
async function endpoints(t: Test): Promise<readonly number[]> {
  const start = async () => {
    const server = http.createServer(({ socket }, response) => {
      response.writeHead(200, { 'x-port': `${socket.localPort}` }).end()
    })
    return await listen(t, server)
  }
  const ports = await Promise.all(['a', 'b', 'c', 'd'].map(start))
  return ports.toSorted((a, b) => (`${a}` < `${b}` ? -1 : 1))
}

function clusterOf(
  name: string,
  { balancer, weights, minimumRingSize }: Kind,
  ports: readonly number[],
): Json {
  const endpoint = (port: number, i: number): Json => ({
    endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } },
    load_balancing_weight: weights[i],
  })
  return {
    ...envoyCluster(name, [], policyOf({ http: 'http1' })),
    lb_policy: balancer === 'maglev' ? 'MAGLEV' : 'RING_HASH',
    ...(minimumRingSize === undefined ? {} : { ring_hash_lb_config: { minimum_ring_size: minimumRingSize } }),
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: ports.slice(0, weights.length).map(endpoint) }],
    },
  }
}

const portAsked = (port: number, path: string, user: string, agent: http.Agent): Promise<number> =>
  new Promise((done, failed) => {
    const headers = { host: 'web.demo', 'x-user': user }
    http
      .get({ host: '127.0.0.1', port, path, headers, agent }, (response) => {
        response.resume()
        done(Number(response.headers['x-port']))
      })
      .on('error', failed)
  })

t.test('hashing leads where Envoy’s does', { skip }, async (t) => {
  if ('missing' in found) return
  const ports = await endpoints(t)
  const names = Object.keys(kinds)
  const hashed = JSON.stringify([
    { header: { header_name: 'x-user' } },
    { query_parameter: { name: 'q' } },
  ]).slice(1, -1)
  await using envoy = await startEnvoy(found.binary, (folder) => {
    const rules = names.map((name) => ruleOf(name, { destinations: forwardTo(name) }))
    const listener = JSON.stringify(envoyListener('http', folder.log('access'), rules))
    return {
      listeners: [
        JSON.parse(listener.replaceAll('"request_mirror_policies":', `"hash_policy":[${hashed}],$&`)) as Json,
      ],
      clusters: Object.entries(kinds).map(([name, kind]) => clusterOf(name, kind, ports)),
    }
  })
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })
  t.teardown(() => agent.destroy())
  for (const [name, { balancer, weights, minimumRingSize = 1_024 }] of Object.entries(kinds)) {
    const policy: LoadBalancer =
      balancer === 'maglev'
        ? { kind: 'maglev', tableSize: 65_537, keys }
        : { kind: 'ring-hash', minimumRingSize, keys }
    const hosts = weights.map((capacity, i) => {
      const workload = workloadWire({ name: `w${i}`, addresses: ['127.0.0.1'], capacity })
      return newHost(parseWorkload(workload), ports[i] ?? 0, 0)
    })
    const pick = pickerOf(policy, hosts, (host) => host.workload.capacity, Math.random)
    const ours: (number | undefined)[] = []
    const envoys: number[] = []
    for (let n = 0; n < users; n++) {
      const query = n % 2 === 0 ? undefined : `q-${n}`
      const nothing = { cookie: () => undefined, sourceIp: '', makeCookie: () => undefined }
      const of = { header: () => `user-${n}`, query: () => query, ...nothing }
      ours.push(pick(hashOf(policy, of))?.port)
      const path = `/${name}${query === undefined ? '' : `?q=${query}`}`
      envoys.push(await portAsked(envoy.port('http'), path, `user-${n}`, agent))
    }
    const differ = ours.filter((port, n) => port !== envoys[n]).length
    t.equal(differ, 0, `${name}: ${differ} of ${users} users are somewhere else`)
    t.equal(new Set(ours).size, weights.length, 'everybody has some')
  }
})
