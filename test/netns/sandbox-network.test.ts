import { execFileSync } from 'node:child_process'
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { silent } from '#telemetry'
import { sandboxConfig } from '../../sandbox/config.ts'
import {
  attachedIds,
  cniAdd,
  cniDel,
  createPodNetns,
  createTopology,
  deletePodNetns,
  findLeftovers,
  netnsPath,
  podNetnsPath,
  run,
  sweep,
  writeNodeConflist,
} from '../../sandbox/net/index.ts'
import { removeOrphans } from '../../sandbox/node/runtime/pod-sandbox.ts'

t.setTimeout(300_000) // the machine may be busy; each takes a few seconds on an idle one
const config = sandboxConfig('sbnet', 2)
const signal = AbortSignal.timeout(300_000)
const skip = process.getuid?.() !== 0 && 'needs root'

/** Everything of the machine's own network that somebody could change. */
const rootNetwork = () =>
  [
    ['ip', '-j', 'addr'],
    ['ip', '-j', 'route', 'show', 'table', 'all'],
    ['ip', '-j', '-6', 'route', 'show', 'table', 'main'],
    ['ip', '-j', 'rule'],
    ['nft', 'list', 'ruleset'],
    [
      'sh',
      '-c',
      'cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/*/forwarding /proc/sys/net/ipv6/conf/*/accept_dad /proc/sys/net/ipv4/conf/*/rp_filter',
    ],
  ]
    .map(([program = '', ...args]) => execFileSync(program, args, { encoding: 'utf8' }))
    .join('\n')
    // Counted down by the kernel: lifetimes of addresses that the machine got from its router.
    .replaceAll(/"(preferred_|valid_)?(life_time|expires)":\d+/g, '')

const enter = (netns: string, ...command: string[]) =>
  run(['nsenter', `--net=${netns}`, ...command], { signal })
const attachment = (id: string, ports: Parameters<typeof cniAdd>[1]['portMappings'] = []) => ({
  containerId: id,
  netns: `cni-${id}`,
  podName: id,
  podNamespace: 'test',
  podUid: id,
  portMappings: ports,
})

t.test('the network of a sandbox', { skip }, async (t) => {
  await sweep(config)
  t.teardown(() => sweep(config))
  const before = rootNetwork()
  await createTopology(config, signal)
  await createTopology(config, signal) // and again: it is made anew
  await Promise.all(config.nodes.map(writeNodeConflist))
  const [one, two] = config.nodes
  if (!one || !two) throw new Error('two nodes')

  await t.test('nodes reach each other and the address of the API, IPv4 and IPv6', async (t) => {
    for (const address of [two.ipv4, two.ipv6, config.fabric.apiIpv4, config.fabric.apiIpv6]) {
      const { code } = await enter(netnsPath(one.netns), ...refused(address))
      t.equal(code, 0, address)
    }
  })

  await t.test('pods of two nodes reach each other with their own addresses', async (t) => {
    await createPodNetns(one, 'cni-a', signal)
    await createPodNetns(two, 'cni-b', signal)
    const a = await cniAdd(one, attachment('a'), signal)
    const dad = '/proc/sys/net/ipv6/conf/default/accept_dad'
    const { stdout: waits } = await enter(podNetnsPath(one, 'cni-a'), 'cat', dad)
    t.equal(waits.trim(), '0', 'nobody waits for duplicate address detection')
    const b = await cniAdd(two, attachment('b'), signal)
    t.match(a.ips, [/^10\.244\.1\./, /^fd00:10:244:1::/])
    for (const [index, address] of b.ips.entries()) {
      const { stdout } = await enter(
        podNetnsPath(two, 'cni-b'),
        'sh',
        '-c',
        exchange(podNetnsPath(one, 'cni-a'), address),
      )
      t.equal(stdout.trim(), a.ips[index], `seen by ${address}`)
    }
    t.match(
      (await enter(podNetnsPath(one, 'cni-a'), 'ip', '-br', 'link', 'show', 'lo')).stdout,
      /lo\s+UNKNOWN/,
    )
  })

  await t.test('DEL takes addresses, links and port mappings back', async (t) => {
    await createPodNetns(one, 'cni-p', signal)
    await cniAdd(one, attachment('p', [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]), signal)
    const rules = async () => (await enter(netnsPath(one.netns), 'nft', 'list', 'ruleset')).stdout
    t.match(await rules(), /8080/)
    await cniDel(one, 'p', signal)
    await deletePodNetns(one, 'cni-p')
    await cniDel(one, 'p', signal) // unknown by now: nothing happens
    t.notMatch(await rules(), /8080/)
  })

  await t.test('what a killed agent left is removed, what a pod has is not', async (t) => {
    await createPodNetns(one, 'cni-half', signal) // killed before the plugins ran
    await createPodNetns(one, 'cni-whole', signal)
    await cniAdd(one, attachment('whole'), signal)
    const links = async () =>
      (await enter(netnsPath(one.netns), 'ip', '-br', 'link')).stdout.split('veth').length
    const before = await links()
    await removeOrphans(one, new Set(['a']), silent)
    t.same(await attachedIds(one), ['a'])
    t.same(readdirSync(`${one.root}/run/netns`), ['cni-a'])
    t.equal(await links(), before - 1)
  })

  await t.test('a chained plugin sees the node as a real one, and its refusal is the error', async (t) => {
    const conf = `${one.root}/etc/cni/net.d/10-lateen.conflist`
    const chain = JSON.parse(readFileSync(conf, 'utf8')) as { plugins: object[] }
    writeFileSync(conf, JSON.stringify({ ...chain, plugins: [...chain.plugins, { type: 'mesh-test' }] }))
    const plugin = `${one.root}/opt/cni/bin/mesh-test`
    const says = (script: string) => {
      writeFileSync(plugin, `#!/bin/sh\n${script}\n`)
      chmodSync(plugin, 0o755)
    }
    await createPodNetns(one, 'cni-c', signal)
    says(
      `[ "$CNI_COMMAND" = DEL ] || ! ls "$CNI_NETNS" >&2 || { echo '{"code":11,"msg":"agent is away","details":"'"$CNI_NETNS"'"}'; exit 1; }`,
    )
    await t.rejects(cniAdd(one, attachment('c'), signal), {
      code: 'unavailable',
      message: 'plugin type="mesh-test" failed (add): agent is away; /var/run/netns/cni-c',
    })
    await cniDel(one, 'c', signal)
    says(
      '[ "$CNI_COMMAND" = DEL ] || sed "s/.*\\"prevResult\\"://; s/}$//" >/dev/null; echo \'{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.9/24"}]}\'',
    )
    t.strictSame(
      (await cniAdd(one, attachment('c'), signal)).ips,
      ['10.0.0.9'],
      "the last plugin's result counts",
    )
    await cniDel(one, 'c', signal)
  })

  await t.test('a sweep leaves nothing, and the machine as it was', async (t) => {
    const { netns, mounts } = findLeftovers(config)
    t.equal(netns.length, 3)
    t.ok(mounts.length >= 4, 'namespaces of pods and the directories that hold them')
    await sweep(config)
    t.strictSame(findLeftovers(config), { processes: [], mounts: [], netns: [], directories: [] })
    t.equal(rootNetwork(), before)
  })
})

/** Succeeds if the address answers at all: nobody listens there, so it must refuse, not be unreachable. */
const refused = (address: string): string[] => [
  process.execPath,
  '-e',
  `require('net').connect(9, '${address}').on('error', (e) => process.exit(e.code === 'ECONNREFUSED' ? 0 : 1))`,
]

/** A server here prints who connected from the other namespace. */
const exchange = (from: string, address: string) => {
  const server = `require('net').createServer((s) => { console.log(s.remoteAddress); process.exit() }).listen(7000, '${address}', () => require('fs').writeSync(3, 'x'))`
  const client = `require('net').connect(7000, '${address}').on('error', () => process.exit(1))`
  const node = process.execPath
  return `{ ${node} -e "${server}" 3>&1 1>&4 | { read -n 1 _ 2>/dev/null || head -c 1 >/dev/null; nsenter --net=${from} ${node} -e "${client}" >/dev/null; }; } 4>&1`
}
