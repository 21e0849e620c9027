import t from 'tap'
import { parseConfig } from '../../waypoint/config.ts'

const env = {
  POD_NAME: 'waypoint-1',
  POD_NAMESPACE: 'shop',
  SERVICE_ACCOUNT: 'waypoint',
  INSTANCE_IP: '10.0.0.1',
  ISTIO_META_WORKLOAD_NAME: 'waypoint',
  CA_ADDR: 'https://istiod.istio-system.svc:15012',
}

t.test('what a Deployment gives is enough', async (t) => {
  t.match(parseConfig(env), {
    identity: 'spiffe://cluster.local/ns/shop/sa/waypoint',
    gateway: { namespace: 'shop', name: 'waypoint' },
    xds: { address: 'istiod.istio-system.svc:15012' },
    drainMs: 25_000,
    ports: { hbone: 15008, admin: 15000, stats: 15020, readiness: 15021, envoyStats: 15090 },
    node: { id: 'waypoint~10.0.0.1~waypoint-1.shop~shop.svc.cluster.local' },
  })
})

const bad: [name: string, value: string | undefined][] = [
  ['POD_NAME', undefined],
  ['POD_NAMESPACE', ''],
  ['INSTANCE_IP', 'nowhere'],
  ['CA_ADDR', 'istiod'],
  ['PROTOCOL_DETECTION_TIMEOUT', '0s'],
  ['SECRET_TTL', 'a day'],
  ['ACCESS_LOG_FORMAT', 'xml'],
  ['HBONE_PORT', '70000'],
]
for (const [name, value] of bad)
  t.test(`${name}=${value ?? ''} is refused by its name`, async (t) => {
    t.throws(() => parseConfig({ ...env, [name]: value }), { code: 'bad-config', message: new RegExp(name) })
  })
