import t from 'tap'
import { workload as wire } from '#wire'
import { answer, type AddressFamily, type Answer, type Client } from '../../../ztunnel/dns/answer.ts'
import { MeshState, parseService, parseWorkload } from '../../../ztunnel/state/index.ts'
import { type ServiceDraft, serviceWire, type WorkloadDraft, workloadWire } from '../../fakes/mesh.ts'

const services: readonly ServiceDraft[] = [
  { name: 'web', namespace: 'shop', vips: ['10.0.0.1', 'fd00::1'] },
  { name: 'v4', namespace: 'shop', vips: ['10.0.0.2'] },
  { name: 'only4', namespace: 'shop', vips: ['10.0.0.3', 'fd00::3'], ipFamilies: wire.IPFamilies.IPV4_ONLY },
  { name: 'only6', namespace: 'shop', vips: ['10.0.0.4', 'fd00::4'], ipFamilies: wire.IPFamilies.IPV6_ONLY },
  { name: 'head', namespace: 'shop' },
  { name: 'empty', namespace: 'shop' },
  { name: 'all', namespace: 'shop', loadBalancing: allowAll() },
  { name: 'ext', namespace: 'shop', hostname: 'example.com', vips: ['240.0.0.1'] },
  { name: 'www', namespace: 'shop', hostname: 'www.example.com', vips: ['240.0.0.2'] },
  { name: 'wild', namespace: 'shop', hostname: '*.example.com', vips: ['240.0.0.3'] },
  { name: 'deep', namespace: 'shop', hostname: '*.sub.example.com', vips: ['240.0.0.4'] },
  { name: 'no-vip', namespace: 'shop', hostname: 'novip.example.org' },
  { name: 'block', namespace: 'shop', hostname: 'block.example.org', vips: ['10.9.0.0/16'] },
  { name: 'secret', namespace: 'bank', vips: ['10.0.0.9'], visibility: wire.Visibility.NAMESPACE },
  { name: 'a', namespace: 'alpha', hostname: 'shared.io', vips: ['10.1.0.1'] },
  { name: 'b', namespace: 'beta', hostname: 'shared.io', vips: ['10.1.0.2'] },
  { name: 'c', namespace: 'gamma', hostname: 'shared.io', vips: ['10.1.0.3'] },
  { name: 'a', namespace: 'alpha', hostname: 'canon.io', vips: ['10.2.0.1'] },
  { name: 'b', namespace: 'beta', hostname: 'canon.io', vips: ['10.2.0.2'], canonical: true },
  { name: 'own', namespace: 'shop', hostname: 'hidden.io' },
  { name: 'other', namespace: 'beta', hostname: 'hidden.io', vips: ['10.3.0.1'] },
]
const member = (key: string) => ({ [`shop/${key}.shop.svc.cluster.local`]: { 80: 8080 } })
const workloads: readonly WorkloadDraft[] = [
  { name: 'h1', addresses: ['10.5.0.1', 'fd05::1'], services: { ...member('head'), ...member('all') } },
  { name: 'h2', addresses: ['10.5.0.2'], services: member('head'), network: 'far' },
  { name: 'h3', addresses: ['10.5.0.3'], services: { ...member('head'), ...member('all') }, status: 1 },
]
function allowAll() {
  const healthPolicy = wire.LoadBalancing_HealthPolicy.ALLOW_ALL
  return { ...wire.LoadBalancing.decode(new Uint8Array()), healthPolicy }
}

const state = new MeshState('node')
state.apply({
  services: services.map((draft) => parseService(serviceWire(draft))),
  workloads: workloads.map((draft) => parseWorkload(workloadWire({ namespace: 'shop', ...draft }))),
})

const client: Client = {
  namespace: 'shop',
  domain: 'cluster.local',
  network: '',
  ipv6: true,
  preferredNamespace: undefined,
  random: () => 0.999,
}
const shown = (a: Answer): string => {
  if (a.kind === 'forward') return `forward: ${a.reason}${a.exists ? ', exists' : ''}`
  if (a.kind === 'no-data') return `no data: ${a.reason}`
  return `${a.reason}${a.cname === undefined ? '' : ` by ${a.cname}`}: ${a.addresses.toSorted().join(' ')}`
}

type Case = readonly [name: string, family: AddressFamily | undefined, want: string, client?: Partial<Client>]
const cases: readonly Case[] = [
  ['web', 'ipv4', 'vip: 10.0.0.1'],
  ['web', 'ipv6', 'vip: fd00::1'],
  ['web.shop', 'ipv4', 'vip: 10.0.0.1'],
  ['web.shop.svc', 'ipv4', 'vip: 10.0.0.1'],
  ['web.shop.svc.cluster.local', 'ipv4', 'vip: 10.0.0.1'],
  ['web', 'ipv4', 'forward: not-in-mesh', { namespace: 'bank' }],
  ['web.shop', 'ipv4', 'vip: 10.0.0.1', { namespace: 'bank' }],
  [
    'web.shop.svc.cluster.local.shop.svc.cluster.local',
    'ipv4',
    'vip by web.shop.svc.cluster.local: 10.0.0.1',
  ],
  ['web.shop.svc.cluster.local', undefined, 'forward: record-type, exists'],
  ['web.shop.svc.corp', 'ipv4', 'forward: not-in-mesh'],
  ['web.shop.svc.corp', 'ipv4', 'forward: not-in-mesh', { domain: 'corp' }],
  ['v4', 'ipv6', 'no data: no-address'],
  ['only4', 'ipv4', 'vip: 10.0.0.3'],
  ['only4', 'ipv6', 'no data: ip-families'],
  ['only6', 'ipv4', 'no data: ip-families'],
  ['only6', 'ipv6', 'vip: fd00::4'],
  ['web', 'ipv6', 'no data: ipv6-disabled', { ipv6: false }],
  ['web', 'ipv4', 'no data: no-address', { network: 'far' }],
  ['head', 'ipv4', 'headless: 10.5.0.1 10.5.0.2'],
  ['head', 'ipv6', 'headless: fd05::1'],
  ['head', 'ipv4', 'headless: 10.5.0.1 10.5.0.2', { network: 'far' }],
  ['all', 'ipv4', 'headless: 10.5.0.1 10.5.0.3'],
  ['empty', 'ipv4', 'forward: no-endpoints, exists'],
  ['empty.shop.svc.cluster.local.shop.svc.cluster.local', 'ipv4', 'forward: no-endpoints'],
  ['h1.head.shop.svc.cluster.local', 'ipv4', 'forward: not-in-mesh'],
  ['_http._tcp.head.shop.svc.cluster.local', undefined, 'forward: record-type'],
  ['example.com', 'ipv4', 'vip: 240.0.0.1'],
  ['example.com', 'ipv6', 'no data: no-address'],
  ['example.com', undefined, 'forward: record-type, exists'],
  ['www.example.com', 'ipv4', 'vip: 240.0.0.2'],
  ['other.example.com', 'ipv4', 'vip: 240.0.0.3'],
  ['x.y.example.com', 'ipv4', 'vip: 240.0.0.3'],
  ['x.sub.example.com', 'ipv4', 'vip: 240.0.0.4'],
  ['sub.example.com', 'ipv4', 'vip: 240.0.0.3'],
  ['example.com.shop.svc.cluster.local', 'ipv4', 'vip by example.com: 240.0.0.1'],
  ['example.com.svc.cluster.local', 'ipv4', 'vip by example.com: 240.0.0.1'],
  ['example.com.cluster.local', 'ipv4', 'vip by example.com: 240.0.0.1'],
  ['example.com.bank.svc.cluster.local', 'ipv4', 'forward: not-in-mesh'],
  ['example.com.shop.svc.cluster.local', undefined, 'forward: record-type'],
  ['other.example.com.shop.svc.cluster.local', 'ipv4', 'vip: 240.0.0.3'],
  ['example.com.corp', 'ipv4', 'vip by example.com: 240.0.0.1', { search: ['corp'] }],
  ['example.com.cluster.local', 'ipv4', 'forward: not-in-mesh', { search: ['corp'] }],
  ['novip.example.org', 'ipv4', 'forward: not-in-mesh'],
  ['block.example.org', 'ipv4', 'forward: not-in-mesh'],
  ['secret.bank', 'ipv4', 'forward: not-in-mesh'],
  ['secret.bank', undefined, 'forward: record-type'],
  ['secret', 'ipv4', 'vip: 10.0.0.9', { namespace: 'bank' }],
  ['shared.io', 'ipv4', 'vip: 10.1.0.1'],
  ['shared.io', 'ipv4', 'vip: 10.1.0.2', { namespace: 'beta' }],
  ['shared.io', 'ipv4', 'vip: 10.1.0.3', { preferredNamespace: 'gamma' }],
  ['shared.io', 'ipv4', 'vip: 10.1.0.2', { namespace: 'beta', preferredNamespace: 'gamma' }],
  ['canon.io', 'ipv4', 'vip: 10.2.0.2'],
  ['canon.io', 'ipv4', 'vip: 10.2.0.2', { preferredNamespace: 'alpha' }],
  ['canon.io', 'ipv4', 'vip: 10.2.0.1', { namespace: 'alpha' }],
  ['hidden.io', 'ipv4', 'vip: 10.3.0.1'],
  ['nowhere.example.net', 'ipv4', 'forward: not-in-mesh'],
  ['', 'ipv4', 'forward: not-in-mesh'],
  ['web\\046shop', 'ipv4', 'forward: not-in-mesh'],
]
for (const [name, family, want, over = {}] of cases) {
  const who = Object.keys(over).length > 0 ? ` for ${JSON.stringify(over)}` : ''
  t.test(`${name || 'the root'}, ${family ?? 'another type'}${who}: ${want}`, async (t) =>
    t.equal(shown(answer(state, name, family, { ...client, ...over })), want),
  )
}

t.test('the order of addresses is another one each time', async (t) => {
  const first = (random: () => number) => {
    const found = answer(state, 'head', 'ipv4', { ...client, random })
    return found.kind === 'addresses' ? found.addresses[0] : undefined
  }
  t.equal(
    first(() => 0),
    '10.5.0.1',
  )
  t.equal(
    first(() => 0.999),
    '10.5.0.2',
  )
})

t.test('a headless service follows its endpoints', async (t) => {
  const own = new MeshState('node')
  const head = { name: 'head', namespace: 'shop' }
  const pod = { name: 'p', namespace: 'shop', services: member('head') }
  own.apply({ services: [parseService(serviceWire(head))] })
  const ask = () => shown(answer(own, 'head', 'ipv4', client))
  t.equal(ask(), 'forward: no-endpoints, exists')
  own.apply({ workloads: [parseWorkload(workloadWire({ ...pod, addresses: ['10.6.0.1'] }))] })
  t.equal(ask(), 'headless: 10.6.0.1')
  own.apply({ workloads: [parseWorkload(workloadWire({ ...pod, addresses: ['10.6.0.2'] }))] })
  t.equal(ask(), 'headless: 10.6.0.2')
  own.apply({ removed: ['Kubernetes//Pod/shop/p'] })
  t.equal(ask(), 'forward: no-endpoints, exists')
})

t.test('of very many endpoints some are named, in no more than they take', async (t) => {
  const own = new MeshState('node')
  own.apply({
    services: [parseService(serviceWire({ name: 'head', namespace: 'shop' }))],
    workloads: Array.from({ length: 3_000 }, (_, n) =>
      parseWorkload(
        workloadWire({
          name: `p${n}`,
          namespace: 'shop',
          addresses: [`10.7.${n >> 8}.${n & 255}`],
          services: member('head'),
        }),
      ),
    ),
  })
  const found = answer(own, 'head', 'ipv4', { ...client, random: Math.random })
  t.equal(found.kind === 'addresses' && new Set(found.addresses).size, 2_000)
})
