import t from 'tap'
import { isRecord } from '#base'
import { rule, type Scene, scene, upstreamOf } from './kit.ts'

/** One answer of the admin port. */
async function ask(s: Scene, path: string): Promise<Readonly<{ status: number; text: string }>> {
  const response = await fetch(`http://127.0.0.1:${s.running.waypoint.ports.admin}${path}`)
  return { status: response.status, text: await response.text() }
}
const json = async (s: Scene, path: string): Promise<Record<string, unknown>> => {
  const value: unknown = JSON.parse((await ask(s, path)).text)
  if (!isRecord(value)) throw new Error(path)
  return value
}

t.test('tools that know Envoy find what they ask for', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('hello'))
  const s = await scene(t, { a })
  await s.route({
    http: [
      rule({
        name: 'cart',
        match: {
          path: { kind: 'segments', value: '/cart' },
          headers: [{ name: 'x-a', value: { kind: 'exact', value: '1' } }],
        },
        origin: { kind: 'VirtualService', name: 'demo/shop' },
      }),
      rule(),
    ],
  })
  await s.get('/')

  t.strictSame(await ask(s, '/ready'), { status: 200, text: 'LIVE\n' })
  t.match(await json(s, '/server_info'), { state: 'LIVE', uptime_current_epoch: /^\d+s$/ })

  const dump = await json(s, '/config_dump')
  const configs = dump['configs'] as readonly Record<string, unknown>[]
  t.strictSame(
    configs.map((one) => String(one['@type']).split('.').at(-1)),
    [
      'BootstrapConfigDump',
      'ClustersConfigDump',
      'ListenersConfigDump',
      'RoutesConfigDump',
      'SecretsConfigDump',
    ],
  )
  const [, clusters, listeners, routes, secrets] = configs
  const name = 'inbound-vip|80|http|web.demo.svc.cluster.local'
  t.match(clusters, { dynamic_active_clusters: [{ cluster: { name, lb_policy: 'LEAST_REQUEST' } }] })
  t.match(listeners, {
    dynamic_listeners: [{ name: 'connect_terminate' }, { name: 'main_internal' }],
  })
  t.match(routes, {
    dynamic_route_configs: [
      {
        route_config: {
          name,
          virtual_hosts: [
            {
              name: 'web.demo.svc.cluster.local',
              routes: [
                {
                  name: 'cart',
                  match: {
                    path_separated_prefix: '/cart',
                    headers: [{ name: 'x-a', string_match: { exact: '1' } }],
                  },
                  route: { cluster: name },
                  metadata: {
                    filter_metadata: {
                      istio: { config: '/apis/networking.istio.io/v1/namespaces/demo/virtual-service/shop' },
                    },
                  },
                },
                { match: { prefix: '/' } },
              ],
            },
          ],
        },
      },
    ],
  })
  t.match(secrets, { dynamic_active_secrets: [{ name: 'default' }, { name: 'ROOTCA' }] })
  t.notMatch(JSON.stringify(dump), /PRIVATE KEY/)
  t.ok(Array.isArray(dump['workloads']), 'and what ztunnel-config reads is there, too')

  t.match(await json(s, '/clusters?format=json'), {
    cluster_statuses: [
      {
        name,
        host_statuses: [
          {
            address: { socket_address: { address: '127.0.0.2', port_value: a.port } },
            health_status: { eds_health_status: 'HEALTHY' },
          },
        ],
      },
    ],
  })
  t.match((await ask(s, '/clusters')).text, `${name}::127.0.0.2:${a.port}::health_flags::healthy\n`)
  t.match(await json(s, '/certs'), { certificates: [{ state: 'Available' }] })
})

t.test('statistics, whole or in part', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('hello'))
  const s = await scene(t, { a })
  await s.get('/')
  t.match((await ask(s, '/stats/prometheus')).text, /^# HELP istio_requests_total/m)
  t.match((await ask(s, '/stats?format=prometheus')).text, /^# HELP istio_requests_total/m)
  const some = await ask(s, '/stats?filter=lateen_mirrors')
  t.equal(some.text, 'lateen_mirrors_skipped_total: 0\n')
  t.strictSame(await json(s, '/stats?format=json&filter=lateen_mirrors'), {
    stats: [{ name: 'lateen_mirrors_skipped_total', value: 0 }],
  })
  t.equal((await ask(s, '/stats?filter=(')).status, 400)
  t.equal((await ask(s, '/nothing')).status, 404)
})
