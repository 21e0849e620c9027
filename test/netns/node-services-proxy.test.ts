import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import t from 'tap'
import { ip, isIpv6, parseIp } from '#base'
import type { EndpointSlice, Service } from '#kube'
import { bindSocket, listenSocket, openNetns, tcpSocket } from '#linux'
import { applyRules } from '../../sandbox/node-services/apply-rules.ts'
import { proxyRules } from '../../sandbox/node-services/proxy-rules.ts'

const skip = process.getuid?.() !== 0 && 'needs root'
const prefix = `node-services-${process.pid}`
const node = `${prefix}-n`
const podA = `${prefix}-a`
const podB = `${prefix}-b`
const run = (...command: [string, ...string[]]) =>
  execFileSync(command[0], command.slice(1), { stdio: 'pipe' }).toString()
const inside = (netns: string, ...command: string[]) =>
  run('nsenter', `--net=/run/netns/${netns}`, ...command)

/** A node and two pods, wired as the `ptp` plugin wires them. */
function wire(): void {
  for (const name of [node, podA, podB]) {
    run('ip', 'netns', 'add', name)
    inside(name, 'ip', 'link', 'set', 'lo', 'up')
    inside(name, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.all.accept_dad=0')
  }
  inside(node, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  // A node reaches Service addresses from itself only if some route takes them.
  inside(node, 'ip', 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1')
  inside(node, 'ip', 'link', 'set', 'up1', 'up')
  inside(node, 'ip', 'link', 'set', 'up0', 'up')
  inside(node, 'ip', 'addr', 'add', '10.77.0.11/24', 'dev', 'up0')
  inside(node, 'ip', '-6', 'addr', 'add', 'fd77::11/64', 'dev', 'up0', 'nodad')
  inside(node, 'ip', 'route', 'add', 'default', 'via', '10.77.0.1')
  inside(node, 'ip', '-6', 'route', 'add', 'default', 'via', 'fd77::1')
  for (const [i, pod] of [podA, podB].entries()) {
    const host = i + 2
    inside(
      node,
      'ip',
      'link',
      'add',
      `v${i}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      `/run/netns/${pod}`,
    )
    inside(node, 'ip', 'addr', 'add', '10.244.1.1/32', 'dev', `v${i}`)
    inside(node, 'ip', '-6', 'addr', 'add', 'fd00:10:244:1::1/128', 'dev', `v${i}`, 'nodad')
    inside(node, 'ip', 'link', 'set', `v${i}`, 'up')
    inside(node, 'ip', 'route', 'add', `10.244.1.${host}/32`, 'dev', `v${i}`)
    inside(node, 'ip', '-6', 'route', 'add', `fd00:10:244:1::${host}/128`, 'dev', `v${i}`)
    inside(pod, 'ip', 'addr', 'add', `10.244.1.${host}/32`, 'dev', 'eth0')
    inside(pod, 'ip', '-6', 'addr', 'add', `fd00:10:244:1::${host}/128`, 'dev', 'eth0', 'nodad')
    inside(pod, 'ip', 'link', 'set', 'eth0', 'up')
    inside(pod, 'ip', 'route', 'add', '10.244.1.1', 'dev', 'eth0')
    inside(pod, 'ip', 'route', 'add', 'default', 'via', '10.244.1.1')
    inside(pod, 'ip', '-6', 'route', 'add', 'fd00:10:244:1::1', 'dev', 'eth0')
    inside(pod, 'ip', '-6', 'route', 'add', 'default', 'via', 'fd00:10:244:1::1')
  }
}

/** Answers each connection with the pod's name and the address it saw. */
async function serve(pod: string, say: string, port: number): Promise<net.Server> {
  using netns = openNetns(`/run/netns/${pod}`)
  const fd = tcpSocket({ netns, family: 'ipv6', reuseAddress: true })
  bindSocket(fd, { address: ip('::'), port })
  listenSocket(fd, 16)
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined)
    socket.end(`${say} ${parseIp(socket.remoteAddress ?? '')}`)
  })
  server.listen({ fd })
  await once(server, 'listening')
  return server
}

/** What a server said, or the code of the failure. */
async function ask(from: string, host: string, port: number): Promise<string> {
  using netns = openNetns(`/run/netns/${from}`)
  const fd = tcpSocket({ netns, family: isIpv6(ip(host)) ? 'ipv6' : 'ipv4' })
  const socket = new net.Socket({ fd }).connect({ host, port })
  const { promise, resolve } = Promise.withResolvers<string>()
  let said = ''
  socket.setTimeout(20_000, () => resolve('timeout'))
  socket.on('data', (chunk) => (said += chunk.toString()))
  socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
  socket.on('close', () => resolve(said))
  const answer = await promise
  socket.destroy()
  return answer
}

const service = (name: string, ips: string[], spec: Service['spec'] = {}): Service => ({
  metadata: { name, namespace: 'shop' },
  spec: { clusterIPs: ips, ports: [{ name: 'http', port: 80, protocol: 'TCP' }], ...spec },
})
const slice = (
  of: string,
  ips: string[],
  conditions: object = { ready: true },
  nodeName = 'n',
): EndpointSlice => ({
  metadata: { name: `${of}-${ips[0]}`, namespace: 'shop', labels: { 'kubernetes.io/service-name': of } },
  addressType: ips[0]?.includes(':') ? 'IPv6' : 'IPv4',
  endpoints: ips.map((each) => ({ addresses: [each], conditions, nodeName })),
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
})
const [a4, b4, a6, b6] = ['10.244.1.2', '10.244.1.3', 'fd00:10:244:1::2', 'fd00:10:244:1::3']
const services = [
  service('both', ['10.96.0.50', 'fd00:10:96::50'], { ports: [{ name: 'http', port: 80, nodePort: 30080 }] }),
  service('self', ['10.96.0.51', 'fd00:10:96::51']),
  service('none', ['10.96.0.52', 'fd00:10:96::52']),
  service('leaving', ['10.96.0.53']),
  service('local', ['10.96.0.54'], { internalTrafficPolicy: 'Local' }),
]
const slices = [
  slice('both', [a4, b4]),
  slice('both', [a6, b6]),
  slice('self', [a4]),
  slice('self', [a6]),
  slice('leaving', [b4], { ready: false, serving: true, terminating: true }),
  slice('local', [b4], { ready: true }, 'another'),
]
const rules = (of = slices) => proxyRules({ services, slices: of, node: 'n' })
const nft = ['nsenter', `--net=/run/netns/${node}`, 'nft']
const signal = AbortSignal.timeout(300_000)

t.test('Service addresses on a node', { skip }, async (t) => {
  t.teardown(() => {
    for (const name of [podA, podB, node])
      try {
        run('ip', 'netns', 'del', name)
      } catch {
        // never made
      }
  })
  wire()
  const servers = [await serve(podA, 'a', 8080), await serve(podB, 'b', 8080)]
  t.teardown(() => servers.forEach((server) => server.close()))
  t.match(await ask(podA, b4, 8080), `b ${a4}`, 'the wiring works')
  await applyRules(rules(), signal, nft)

  t.test(
    'a Service address leads to every endpoint, in both families, with the source as it was',
    async (t) => {
      for (const [vip, wantA, wantB] of [
        ['10.96.0.50', `a ${b4}`, `b ${b4}`],
        ['fd00:10:96::50', `a ${b6}`, `b ${b6}`],
      ] as const) {
        const answers = new Set<string>()
        for (let i = 0; i < 24; i++) answers.add(await ask(podB, vip, 80))
        t.ok(answers.has(wantA), `${vip} reaches the other pod, which sees who asks`)
        t.equal(answers.size, 2)
        t.ok(
          [...answers].some((answer) => answer.startsWith(wantB.slice(0, 1))),
          'and the asking pod itself',
        )
      }
    },
  )

  t.test('the node itself reaches Services', async (t) => {
    t.match(await ask(node, '10.96.0.50', 80), /^[ab] 10\./)
    t.match(await ask(node, 'fd00:10:96::50', 80), /^[ab] fd/)
  })

  t.test('a pod reaches itself through its Service', async (t) => {
    t.match(await ask(podA, '10.96.0.51', 80), /^a 10\.244\.1\.1$/)
    t.match(await ask(podA, 'fd00:10:96::51', 80), /^a fd/)
  })

  t.test('a Service without endpoints refuses at once', async (t) => {
    for (const from of [podA, node])
      for (const vip of ['10.96.0.52', 'fd00:10:96::52'])
        t.equal(await ask(from, vip, 80), 'ECONNREFUSED', `${from} ${vip}`)
    t.equal(await ask(podA, '10.96.0.54', 80), 'ECONNREFUSED', 'Local, and none is local')
  })

  t.test('with nobody ready, one that is leaving but serving answers', async (t) => {
    t.equal(await ask(podA, '10.96.0.53', 80), `b ${a4}`)
  })

  t.test('a node port leads there too', async (t) => {
    t.match(await ask(podA, '10.77.0.11', 30080), /^[ab] 10\./)
    t.match(await ask(podA, 'fd77::11', 30080), /^[ab] fd/)
  })

  t.test('a new ruleset replaces the old one whole; garbage leaves the old one in force', async (t) => {
    await applyRules(rules([slice('none', [b4])]), signal, nft)
    t.equal(await ask(podA, '10.96.0.52', 80), `b ${a4}`)
    t.equal(await ask(podA, '10.96.0.50', 80), 'ECONNREFUSED')
    await t.rejects(applyRules('table inet lateen-proxy { chain nonsense }', signal, nft), {
      code: 'syscall-failed',
    })
    t.equal(await ask(podA, '10.96.0.52', 80), `b ${a4}`)
    await applyRules(rules(), signal, nft)
  })
})
