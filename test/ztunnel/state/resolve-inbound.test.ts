import t from 'tap'
import { ip } from '#base'
import { MeshState, parseService, parseWorkload, resolveInbound } from '../../../ztunnel/state/index.ts'
import { type ServiceDraft, serviceWire, type WorkloadDraft, workloadWire } from '../../fakes/mesh.ts'

const web = 'demo/web.demo.svc.cluster.local'
const wp = 'demo/wp.demo.svc.cluster.local'
const local: WorkloadDraft = {
  name: 'local',
  node: 'n1',
  addresses: ['10.0.0.1', 'fd00::1'],
  services: { [web]: { 80: 8080, 90: 9090 } },
}
const service: ServiceDraft = { name: 'web', vips: ['10.96.0.1'], ports: { 80: 8080, 90: 0, 91: 0 } }
const other: WorkloadDraft = { name: 'other', addresses: ['10.0.0.2'] }

const ask = (
  authority: string,
  draft: WorkloadDraft,
  more: WorkloadDraft[],
  services: ServiceDraft[],
  podIp: string,
) => {
  const state = new MeshState('n1')
  state.apply({
    workloads: [draft, ...more].map((one) => parseWorkload(workloadWire(one))),
    services: services.map((one) => parseService(serviceWire(one))),
  })
  const mine = state.localWorkload({ namespace: 'demo', name: 'local', serviceAccount: 'local' })
  if (!mine) throw new Error('no local workload')
  const target = resolveInbound(state, { local: mine, podIp: ip(podIp), network: '' }, authority)
  return target.kind === 'accept'
    ? `${target.to.address} ${target.to.port}`
    : `${target.status} ${target.message.split(':')[0]}`
}

type Extra = {
  local?: Partial<WorkloadDraft>
  workloads?: WorkloadDraft[]
  services?: ServiceDraft[]
  podIp?: string
}
const waypointOf = { services: { [wp]: { 15008: 15008 } } }
const cases: [string, string, string, Extra?][] = [
  ['the pod itself', '10.0.0.1:8080', '10.0.0.1 8080'],
  ['the pod itself, IPv6', '[fd00::1]:8080', 'fd00::1 8080', { podIp: 'fd00::1' }],
  ['its other address is not what was dialled', '[fd00::1]:8080', '400 ip mismatch'],
  ['another pod', '10.0.0.2:8080', '400 ip mismatch', { workloads: [other] }],
  ['a service of its own, by VIP', '10.96.0.1:80', '400 ip mismatch', { services: [service] }],
  ['loopback', '127.0.0.1:8080', '400 ip mismatch'],
  [
    'an IPv4 address written as IPv6 is nobody, as ztunnel has it',
    '[::ffff:10.0.0.1]:80',
    '400 invalid destination',
  ],
  ...[15001, 15006, 15008].map((port): [string, string, string] => [
    `our own port ${port}`,
    `10.0.0.1:${port}`,
    '503 attempted self call',
  ]),
  ['a hostname', 'web.demo.svc.cluster.local:80', '10.0.0.1 8080', { services: [service] }],
  ['a hostname in capitals', 'WEB.demo.svc.cluster.local:80', '10.0.0.1 8080', { services: [service] }],
  ['a hostname with a named port', 'web.demo.svc.cluster.local:90', '10.0.0.1 9090', { services: [service] }],
  [
    'a named port that the pod lacks',
    'web.demo.svc.cluster.local:91',
    '503 no target port for web.demo.svc.cluster.local',
    { services: [service] },
  ],
  ['a hostname nobody has', 'nobody.example:80', '503 unknown hostname'],
  ...[
    '10.0.0.1',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    '',
    ':80',
    'a b:80',
    '10.0.0.01:80',
    '[10.0.0.1]:80',
    '[fd00::1%eth0]:80',
    '10.0.0.1:80:80',
    'user@10.0.0.1:80',
    '../x:80',
    '1.2.3:80',
    `${'a'.repeat(300)}:80`,
  ].map((authority): [string, string, string] => [
    `garbage ${JSON.stringify(authority.slice(0, 20))}`,
    authority,
    '400 invalid destination',
  ]),
  [
    'as the waypoint of the service that was asked for',
    '10.96.0.1:80',
    '10.0.0.1 80',
    {
      local: waypointOf,
      services: [
        { ...service, waypoint: wp },
        { name: 'wp', ports: { 15008: 15008 } },
      ],
    },
  ],
  [
    'as the waypoint of the pod that was asked for, by address',
    '10.0.0.2:80',
    '10.0.0.1 80',
    { workloads: [{ ...other, waypoint: '10.0.0.1' }] },
  ],
  [
    'not as the waypoint of somebody else',
    '10.0.0.2:80',
    '400 ip mismatch',
    { workloads: [{ ...other, waypoint: '10.0.0.3' }] },
  ],
  [
    'an application tunnel to another port',
    '10.0.0.1:80',
    '10.0.0.1 15088',
    { local: { applicationTunnel: { protocol: 0, port: 15088 } } },
  ],
]
for (const [name, authority, want, extra = {}] of cases) {
  t.test(`${name}: ${want}`, async (t) => {
    const { workloads = [], services = [], podIp = '10.0.0.1' } = extra
    t.equal(ask(authority, { ...local, ...extra.local }, workloads, services, podIp), want)
  })
}
