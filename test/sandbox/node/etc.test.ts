import t from 'tap'
import { sandboxConfig } from '../../../sandbox/config.ts'
import { etcHosts, hostnameOf, resolvConf } from '../../../sandbox/node/pod/etc.ts'
import { capabilitiesOf, identityOf } from '../../../sandbox/node/pod/security.ts'
import { podOf } from './pods.ts'

const config = sandboxConfig('etc', 1)
const search = 'search shop.svc.cluster.local svc.cluster.local cluster.local'
const cases: [string, Record<string, unknown>, string][] = [
  ['a pod asks cluster DNS first', {}, `nameserver 10.96.0.10\n${search}\noptions ndots:5\n`],
  ['a pod in the node network gets no search domains', { hostNetwork: true }, 'nameserver 10.96.0.10\n'],
  [
    'unless it asks for them',
    { hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' },
    `nameserver 10.96.0.10\n${search}\noptions ndots:5\n`,
  ],
  [
    'None means only what is given',
    { dnsPolicy: 'None', dnsConfig: { nameservers: ['1.1.1.1'], options: [{ name: 'ndots', value: '2' }] } },
    'nameserver 1.1.1.1\noptions ndots:2\n',
  ],
]
for (const [name, spec, want] of cases) {
  t.test(name, async (t) => t.equal(resolvConf(podOf(spec), config), want))
}

t.test('the hosts file knows the pod by all its addresses, its subdomain and its aliases', async (t) => {
  const pod = podOf({
    hostname: 'a',
    subdomain: 'sub',
    hostAliases: [{ ip: '1.2.3.4', hostnames: ['x', 'y'] }],
  })
  const hosts = etcHosts(pod, config, ['10.244.1.2', 'fd00::2'])
  t.match(hosts, '10.244.1.2\ta.sub.shop.svc.cluster.local\ta\n')
  t.match(hosts, 'fd00::2\ta.sub.shop.svc.cluster.local\ta\n')
  t.match(hosts, '1.2.3.4\tx\ty\n')
})

t.test('a host name is at most 63 characters and does not end in a dash', async (t) => {
  const name = `${'a'.repeat(62)}-b`
  t.equal(hostnameOf(podOf({}, { name })), 'a'.repeat(62))
  t.equal(hostnameOf(podOf({ hostNetwork: true })), 'node-1')
})

t.test('capabilities: additions win over removals', async (t) => {
  t.equal(capabilitiesOf({ add: ['ALL'], drop: [] }), 'all')
  t.strictSame(capabilitiesOf({ add: ['CAP_NET_ADMIN', 'sys_admin'], drop: ['ALL'] }), [
    'net_admin',
    'sys_admin',
  ])
  const plain = capabilitiesOf({ add: [], drop: ['NET_RAW'] })
  t.notOk(plain.includes('net_raw'))
  t.notOk(plain.includes('sys_admin'), 'nobody gets SYS_ADMIN unasked')
  t.ok(plain.includes('net_bind_service'))
})

t.test("a container's own user wins over the pod's; privileged means everything", async (t) => {
  const pod = podOf({
    securityContext: { runAsUser: 1, runAsGroup: 2, fsGroup: 3 },
    containers: [{ name: 'a', securityContext: { runAsUser: 7, privileged: true } }, { name: 'b' }],
  })
  const [a, b] = pod.spec.containers.map((container) => identityOf(pod, container))
  t.strictSame([a?.user, a?.capabilities], [{ uid: 7, gid: 2, groups: [3] }, 'all'])
  t.equal(b?.user.uid, 1)
})
