import t from 'tap'
import { formatAddress, ip } from '#base'
import {
  type InboundQuestion,
  MeshState,
  parseService,
  parseWorkload,
  resolveInbound,
} from '../../../ztunnel/state/index.ts'
import {
  gateway,
  type ServiceDraft,
  serviceWire,
  type WorkloadDraft,
  workloadWire,
} from '../../fakes/mesh.ts'

const host = 'web.demo.svc.cluster.local'
const web = `demo/${host}`
const wp = 'demo/wp.demo.svc.cluster.local'
const local: WorkloadDraft = { name: 'local', node: 'n1', addresses: ['10.0.0.1', 'fd00::1'] }
const service: ServiceDraft = { name: 'web', vips: ['fd96::1', '10.96.0.1'], ports: { 80: 8080, 90: 0 } }
const waypointService: ServiceDraft = { name: 'wp', vips: ['10.96.0.9'], ports: { 15008: 15008 } }
const member = { [wp]: { 15008: 15008 } }
const proxied = (port: number) => ({ applicationTunnel: { protocol: 1 as const, port } })
const plain = (port: number) => ({ applicationTunnel: { protocol: 0 as const, port } })

type Mesh = { local?: Partial<WorkloadDraft>; workloads?: WorkloadDraft[]; services?: ServiceDraft[] }

const ask = (authority: string, mesh: Mesh, question: Partial<InboundQuestion> = {}): string => {
  const state = new MeshState('n1')
  state.apply({
    workloads: [{ ...local, ...mesh.local }, ...(mesh.workloads ?? [])].map((one) =>
      parseWorkload(workloadWire(one)),
    ),
    services: (mesh.services ?? []).map((one) => parseService(serviceWire(one))),
  })
  const mine = state.localWorkload({ namespace: 'demo', name: 'local', serviceAccount: 'local' })
  if (!mine) throw new Error('no local workload')
  const target = resolveInbound(
    state,
    { local: mine, podIp: ip('10.0.0.1'), network: '', ...question },
    authority,
  )
  if (target.kind === 'reject') return `${target.status} ${target.reason}`
  const { to, judged, proxyHeader, loopback, reason } = target
  const header = proxyHeader ? ` header ${formatAddress(proxyHeader.destination)}` : ''
  const from = loopback ? ' from loopback' : ''
  return `${formatAddress(to)}${from} judged ${formatAddress(judged)}${header} ${reason} ${target.service?.name ?? '-'}`
}

const sandwich = { local: { services: member }, services: [{ ...service, waypoint: wp }, waypointService] }
const six = { podIp: ip('fd00::1') }
const cases: [string, string, Mesh, string, Partial<InboundQuestion>?][] = [
  ['the pod itself', '10.0.0.1:8080', {}, '10.0.0.1:8080 judged 10.0.0.1:8080 own-address -'],
  ['its other address', '[fd00::1]:8080', {}, '400 ip-mismatch'],
  [
    'a port override is judged',
    '10.0.0.1:80',
    { local: plain(15088) },
    '10.0.0.1:15088 judged 10.0.0.1:15088 own-address -',
  ],
  [
    'a tunnel without a port keeps the one that was asked for',
    '10.0.0.1:80',
    { local: plain(0) },
    '10.0.0.1:80 judged 10.0.0.1:80 own-address -',
  ],
  [
    'with a tunnel any address is legal',
    '10.9.9.9:80',
    { local: plain(15088) },
    '10.0.0.1:15088 judged 10.0.0.1:15088 application-tunnel -',
  ],
  ['a tunnel to a port of ours', '10.0.0.1:80', { local: plain(15008) }, '503 self-call'],
  ['a port of ours under a tunnel', '10.0.0.1:15006', { local: plain(15088) }, '503 self-call'],
  [
    'PROXY: loopback, and the header says what was asked for',
    '10.96.0.1:80',
    { local: { ...proxied(15088), services: member }, services: [service] },
    '127.0.0.1:15088 from loopback judged 10.0.0.1:15088 header 10.96.0.1:80 application-tunnel web',
  ],
  [
    'PROXY on IPv6',
    '[fd96::1]:80',
    { local: proxied(15088), services: [service] },
    '[::1]:15088 from loopback judged [fd00::1]:15088 header [fd96::1]:80 application-tunnel web',
    six,
  ],
  [
    'PROXY without loopback',
    '10.0.0.1:80',
    { local: proxied(15088) },
    '10.0.0.1:15088 judged 10.0.0.1:15088 header 10.0.0.1:80 own-address -',
    { loopbackTunnel: false },
  ],
  [
    'PROXY for a hostname: its IPv4 address with the port that was asked for',
    `${host}:80`,
    { local: proxied(15088), services: [service] },
    '127.0.0.1:15088 from loopback judged 10.0.0.1:15088 header 10.96.0.1:80 service-hostname web',
  ],
  [
    'PROXY for a hostname with an IPv6 address only',
    `${host}:80`,
    { local: proxied(15088), services: [{ ...service, vips: ['fd96::1'] }] },
    '127.0.0.1:15088 from loopback judged 10.0.0.1:15088 header [fd96::1]:80 service-hostname web',
  ],
  [
    'PROXY for a hostname without any',
    `${host}:80`,
    { local: proxied(15088), services: [{ ...service, vips: [] }] },
    '503 no-vip',
  ],
  [
    'PROXY for a hostname with addresses of another network alone',
    `${host}:80`,
    { local: proxied(15088), services: [{ ...service, network: 'far' }] },
    '503 no-vip',
  ],
  [
    'the waypoint of a service, by VIP',
    '10.96.0.1:80',
    sandwich,
    '10.0.0.1:80 judged 10.0.0.1:80 waypoint-of web',
  ],
  [
    'the waypoint of a service, IPv6',
    '[fd96::1]:80',
    sandwich,
    '[fd00::1]:80 judged [fd00::1]:80 waypoint-of web',
    six,
  ],
  [
    'one of the weighted waypoints, also of weight 0',
    '10.96.0.1:80',
    {
      local: { services: member },
      services: [
        { ...service, weightedWaypoints: [{ destination: gateway(wp), weight: 0 }] },
        waypointService,
      ],
    },
    '10.0.0.1:80 judged 10.0.0.1:80 waypoint-of web',
  ],
  [
    'a waypoint by the address of its service',
    '10.96.0.1:80',
    { local: { services: member }, services: [{ ...service, waypoint: '10.96.0.9' }, waypointService] },
    '10.0.0.1:80 judged 10.0.0.1:80 waypoint-of web',
  ],
  [
    'a waypoint by its other address',
    '10.0.0.2:80',
    { workloads: [{ name: 'other', addresses: ['10.0.0.2'], waypoint: 'fd00::1' }] },
    '10.0.0.1:80 judged 10.0.0.1:80 waypoint-of -',
  ],
  ['a service whose waypoint is another', '10.96.0.1:80', { services: sandwich.services }, '400 ip-mismatch'],
  [
    'a service without waypoint',
    '10.96.0.1:80',
    { local: { services: { [web]: { 80: 80 } } }, services: [service] },
    '400 ip-mismatch',
  ],
  [
    'a hostname, the number of the service',
    `${host}:80`,
    { services: [service] },
    '10.0.0.1:8080 judged 10.0.0.1:8080 service-hostname web',
  ],
  [
    'a hostname, the number of the pod',
    `${host}:90`,
    { local: { services: { [web]: { 90: 9090 } } }, services: [service] },
    '10.0.0.1:9090 judged 10.0.0.1:9090 service-hostname web',
  ],
  [
    'a port that only the pod lists',
    `${host}:91`,
    { local: { services: { [web]: { 91: 9091 } } }, services: [service] },
    '10.0.0.1:9091 judged 10.0.0.1:9091 service-hostname web',
  ],
  ['a named port that the pod lacks', `${host}:90`, { services: [service] }, '503 no-target-port'],
  [
    'a hostname of which only another namespace may know',
    `${host}:80`,
    { services: [{ ...service, namespace: 'other', hostname: host, visibility: 1 }] },
    '503 unknown-hostname',
  ],
  [
    'a hostname whose port is one of ours',
    `${host}:80`,
    { local: { services: { [web]: { 80: 15006 } } }, services: [service] },
    '503 self-call',
  ],
  ['nothing', '', {}, '400 bad-authority'],
]
for (const [name, authority, mesh, want, question] of cases)
  t.test(`${name}: ${want}`, async (t) => t.equal(ask(authority, mesh, question), want))
