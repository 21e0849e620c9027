import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ip } from '#base'
import { silent } from '#telemetry'
import type { Namespace, Pod } from '#kube'
import { parseConfig } from '../../../cni/agent/config.ts'
import { decideEligibility, names, parseBool } from '../../../cni/agent/eligibility.ts'
import { install, keepInstalled, planConf, type PluginSettings } from '../../../cni/agent/installer.ts'
import { countInFlight } from '../../../cni/agent/in-flight.ts'
import { KeyedLock } from '../../../cni/agent/keyed-lock.ts'
import { createMetrics } from '../../../cni/agent/metrics.ts'
import { NetnsRegistry } from '../../../cni/agent/netns-registry.ts'
import { findNetnsByUid, podUidOf } from '../../../cni/agent/proc-scan.ts'
import { until } from '../../fakes/until.ts'

const defaults = { excludedNamespaces: ['kube-system'], ipv6: true, dnsCapture: false }
const pod = (
  o: {
    labels?: Record<string, string>
    annotations?: Record<string, string>
    namespace?: string
    spec?: Pod['spec']
    phase?: 'Running' | 'Failed' | 'Succeeded'
  } = {},
): Pod => ({
  metadata: {
    name: 'p',
    namespace: o.namespace ?? 'shop',
    uid: 'u',
    labels: o.labels ?? {},
    annotations: o.annotations ?? {},
  },
  spec: o.spec ?? {},
  status: { phase: o.phase ?? 'Running' },
})
const ns = (mode?: string): Namespace => ({
  metadata: { name: 'shop', ...(mode && { labels: { [names.mode]: mode } }) },
})

const cases: [string, Pod, Namespace | undefined, string][] = [
  ['no label at all', pod(), ns(), 'leave by no label'],
  ['an unknown namespace', pod(), undefined, 'leave by no label'],
  ['the namespace says ambient', pod(), ns('ambient'), 'enrol by namespace label'],
  ['the pod says ambient', pod({ labels: { [names.mode]: 'ambient' } }), ns(), 'enrol by pod label'],
  ['the pod says none', pod({ labels: { [names.mode]: 'none' } }), ns('ambient'), 'leave by pod label'],
  [
    'the pod says ambient, the namespace none',
    pod({ labels: { [names.mode]: 'ambient' } }),
    ns('none'),
    'enrol by pod label',
  ],
  [
    'a word of the pod that means nothing',
    pod({ labels: { [names.mode]: 'x' } }),
    ns('ambient'),
    'enrol by namespace label',
  ],
  ['a word of the namespace that means nothing', pod(), ns('Ambient'), 'leave by no label'],
  [
    'host network',
    pod({ spec: { hostNetwork: true }, labels: { [names.mode]: 'ambient' } }),
    ns('ambient'),
    'leave by host network',
  ],
  ['a sidecar', pod({ annotations: { [names.sidecar]: '{}' } }), ns('ambient'), 'leave by sidecar'],
  [
    'kube-system',
    pod({ namespace: 'kube-system', labels: { [names.mode]: 'ambient' } }),
    ns('ambient'),
    'leave by excluded namespace',
  ],
  ['finished well', pod({ phase: 'Succeeded' }), ns('ambient'), 'gone by finished'],
  ['finished badly', pod({ phase: 'Failed' }), ns('ambient'), 'gone by finished'],
]
for (const [name, subject, namespace, want] of cases) {
  t.test(`enrolment: ${name}`, (t) => {
    const { verdict, by } = decideEligibility(subject, namespace, defaults)
    t.equal(`${verdict} by ${by}`, want)
    t.end()
  })
}

t.test('annotations make the wish; those that cannot be read are named and count as absent', (t) => {
  const wish = (annotations: Record<string, string>) => {
    const decision = decideEligibility(pod({ annotations }), ns('ambient'), defaults)
    return decision.verdict === 'enrol' ? decision : t.fail('not enrolled')
  }
  const plain = { ipv6: true, dnsCapture: false, ingressMode: false, virtualInterfaces: [] }
  t.same(wish({}), { verdict: 'enrol', by: 'namespace label', wish: plain, warnings: [] })
  t.match(wish({ [names.dnsCapture]: 'TRUE', [names.bypassInbound]: '1' }), {
    wish: { dnsCapture: true, ingressMode: true },
  })
  t.match(wish({ [names.bypassInbound]: 'perhaps' }), {
    wish: plain,
    warnings: [/bypass-inbound-capture is ignored: "perhaps"/],
  })
  t.match(wish({ [names.virtualInterfaces]: 'virbr0, br-1' }), {
    wish: { virtualInterfaces: ['virbr0', 'br-1'] },
  })
  for (const hostile of ['a b', '-j', 'x\ny', '"', 'a/b', 'toolonganinterfacename', '$(id)', 'é'])
    t.match(wish({ [names.virtualInterfaces]: `${hostile},ok0` }), {
      wish: { virtualInterfaces: ['ok0'] },
      warnings: [/no interface names/],
    })
  t.end()
})

t.test('booleans are spelled as Go spells them', (t) => {
  for (const text of ['1', 't', 'T', 'true', 'TRUE', 'True']) t.equal(parseBool(text), true)
  for (const text of ['0', 'f', 'F', 'false', 'FALSE', 'False']) t.equal(parseBool(text), false)
  for (const text of ['', 'yes', 'tRUE', ' true', '2']) t.equal(parseBool(text), undefined)
  t.end()
})

t.test('configuration: defaults, and one line that names every bad variable', (t) => {
  t.match(parseConfig({ NODE_NAME: 'n' }), {
    agentNamespace: 'istio-system',
    excludedNamespaces: ['kube-system'],
    zdsPath: '/var/run/ztunnel/ztunnel.sock',
    runDir: '/var/run/istio-cni',
    ipv6: true,
    dnsCapture: false,
    times: { settleMs: 1000, verifyMs: 30_000 },
  })
  t.same(parseConfig({ NODE_NAME: 'n', EXCLUDE_NAMESPACES: 'a, b,' }).excludedNamespaces, ['a', 'b'])
  t.throws(() => parseConfig({ AMBIENT_IPV6: 'yes', MONITORING_PORT: '99999' }), {
    code: 'bad-config',
    message: /NODE_NAME.*AMBIENT_IPV6.*MONITORING_PORT/,
  })
  t.end()
})

const settings: PluginSettings = {
  runDir: '/r',
  agentNamespace: 'istio-system',
  excludedNamespaces: ['kube-system'],
  nativeNftables: false,
  logLevel: 'info',
}
const list = (plugins: unknown[], more = {}) =>
  JSON.stringify({ cniVersion: '0.3.1', name: 'net', ...more, plugins })

t.test('the plugin goes last into the first configuration, and nothing else changes there', (t) => {
  const files = new Map([
    ['20-b.conflist', list([{ type: 'other' }])],
    [
      '10-a.conflist',
      list([{ type: 'ptp', ipam: { type: 'host-local' } }, { type: 'portmap' }], { disableCheck: true }),
    ],
    ['00-readme.txt', 'x'],
    ['05-broken.conflist', '{'],
  ])
  const plan = planConf(files, settings)
  if (plan.kind !== 'write') return t.fail(plan.kind)
  t.equal(plan.file, '10-a.conflist')
  t.match(JSON.parse(plan.text), {
    cniVersion: '0.3.1',
    name: 'net',
    disableCheck: true,
    plugins: [
      { type: 'ptp', ipam: { type: 'host-local' } },
      { type: 'portmap' },
      {
        type: 'istio-cni',
        name: 'istio-cni',
        cni_agent_run_dir: '/r',
        ambient_enabled: true,
        exclude_namespaces: ['kube-system'],
        pod_namespace: 'istio-system',
      },
    ],
  })
  t.same(planConf(new Map([[plan.file, plan.text]]), settings), { kind: 'installed' })
  const moved = planConf(new Map([[plan.file, plan.text]]), { ...settings, runDir: '/elsewhere' })
  t.equal(moved.kind === 'write' && JSON.parse(moved.text).plugins.length, 3, 'replaced, not added again')
  t.match(planConf(new Map(), settings), { kind: 'wait' })
  const single = planConf(
    new Map([['10-x.conf', '{"cniVersion":"0.4.0","name":"n","type":"bridge","mtu":9}']]),
    settings,
  )
  t.match(single, { kind: 'write', file: '10-x.conflist', remove: '10-x.conf' })
  t.match(single.kind === 'write' && JSON.parse(single.text), {
    cniVersion: '0.4.0',
    name: 'n',
    plugins: [{ type: 'bridge', mtu: 9 }, {}],
  })
  t.match(
    planConf(new Map([['00-x.json', '{"name":"n","type":"bridge"}'], ...files]), settings),
    { kind: 'write', file: '00-x.conflist', remove: '00-x.json' },
    'runtimes read .json too, and the first file decides',
  )
  t.match(
    planConf(new Map([['00-x.conflist', list([])]]), settings),
    { kind: 'wait' },
    'a list without plugins is no network that we could be chained into',
  )
  t.end()
})

t.test(
  'installing waits for a configuration, is repeated safely, and comes back after a rewrite',
  async (t) => {
    const dir = t.testdir({ 'plugin-file': 'one', bin: {}, net: {} })
    const options = {
      binary: join(dir, 'plugin-file'),
      binDir: join(dir, 'bin'),
      netDir: join(dir, 'net'),
      settings,
      log: silent,
      metrics: createMetrics(),
      signal: AbortSignal.timeout(20_000),
    }
    t.match(await install(options), /no network configuration/)
    const conf = join(dir, 'net/10-a.conflist')
    writeFileSync(conf, list([{ type: 'ptp' }]))
    t.equal(await install(options), 'installed')
    const once = readFileSync(conf, 'utf8')
    t.equal(await install(options), 'installed')
    t.equal(readFileSync(conf, 'utf8'), once)
    writeFileSync(conf, list([{ type: 'ptp' }]))
    writeFileSync(join(dir, 'plugin-file'), 'two')
    t.equal(await install(options), 'installed')
    t.equal(readFileSync(conf, 'utf8'), once)
    t.equal(readFileSync(join(dir, 'bin/istio-cni'), 'utf8'), 'two')
    t.same(
      [readdirSync(join(dir, 'net')), readdirSync(join(dir, 'bin'))],
      [['10-a.conflist'], ['istio-cni']],
      'no half files are left',
    )
  },
)

t.test('a configuration that somebody rewrites without us has us again at once', async (t) => {
  const dir = t.testdir({ 'plugin-file': 'one', bin: {}, net: {} })
  const conf = join(dir, 'net/10-a.conflist')
  writeFileSync(conf, list([{ type: 'ptp' }]))
  const stop = new AbortController()
  const ready = Promise.withResolvers<void>()
  const kept = keepInstalled(
    {
      binary: join(dir, 'plugin-file'),
      binDir: join(dir, 'bin'),
      netDir: join(dir, 'net'),
      settings,
      log: silent,
      metrics: createMetrics(),
      signal: stop.signal,
    },
    ready.resolve,
  )
  await ready.promise
  const began = performance.now()
  writeFileSync(conf, list([{ type: 'ptp' }]))
  await until(() => readFileSync(conf, 'utf8').includes('istio-cni'), 'the plugin is back')
  t.ok(performance.now() - began < 1_000, 'and not only at the next look by the clock')
  stop.abort(new Error('stop'))
  await t.rejects(kept, /stop/)
})

t.test(
  'namespaces are remembered across restarts, and forgotten only for the sandbox they belong to',
  (t) => {
    const dir = t.testdir()
    const first = new NetnsRegistry(dir)
    first.put({ uid: 'u-1', netns: '/var/run/netns/a', containerId: 'box-1' })
    first.put({ uid: 'u-1', netns: '/var/run/netns/b', containerId: 'box-2' })
    first.put({ uid: '../../etc/x', netns: '/x', containerId: '' })
    first.put({ uid: 'u-2', netns: '/y', containerId: 'box-3' })
    t.notOk(first.remove('u-1', 'box-1'), 'the removal of the old sandbox comes late')
    t.ok(first.remove('u-2', 'box-3'))
    writeFileSync(join(dir, 'netns/u-9.json'), '{"uid":')
    writeFileSync(join(dir, 'netns/u-8.json'), '{"uid":"u-7","netns":"/x"}')
    const second = new NetnsRegistry(dir)
    t.same(second.uids(), ['u-1'])
    t.equal(second.get('u-1')?.netns, '/var/run/netns/b')
    t.same(readdirSync(join(dir, 'netns')), ['u-1.json'])
    t.end()
  },
)

t.test('a pod’s uid in cgroup paths of either driver', (t) => {
  const uid = '01234567-89ab-cdef-0123-456789abcdef'
  t.equal(podUidOf(`0::/kubepods/burstable/pod${uid}/abc`), uid)
  t.equal(
    podUidOf(`0::/kubepods.slice/kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice/cri-x.scope`),
    uid,
  )
  t.equal(podUidOf('0::/user.slice'), undefined)
  t.end()
})

t.test(
  'the scan of /proc takes the oldest process of the pod, and never one in the node’s namespace',
  async (t) => {
    const uid = '01234567-89ab-cdef-0123-456789abcdef'
    const proc = t.testdir()
    const process = (pid: number, start: number, net: string, cgroup = `0::/kubepods/pod${uid}/x`) => {
      mkdirSync(join(proc, `${pid}/ns`), { recursive: true })
      writeFileSync(join(proc, `${pid}/cgroup`), cgroup)
      writeFileSync(join(proc, `${pid}/stat`), `${pid} (a b) c) S ${Array(18).fill(0).join(' ')} ${start} 0`)
      symlinkSync(net, join(proc, `${pid}/ns/net`))
    }
    process(1, 1, 'net:[1]', '0::/init.scope')
    process(10, 5, 'net:[1]')
    process(20, 30, 'net:[20]')
    process(30, 20, 'net:[30]')
    process(40, 10, 'net:[40]', '0::/kubepods/podffffffff-89ab-cdef-0123-456789abcdef/x')
    t.equal(await findNetnsByUid(proc, uid), join(proc, '30/ns/net'))
    t.equal(await findNetnsByUid(proc, 'no-such'), undefined)
  },
)

t.test('one key’s tasks run in order, also after a failure; other keys do not wait', async (t) => {
  const lock = new KeyedLock()
  const order: string[] = []
  const gate = Promise.withResolvers<void>()
  const first = lock.run('a', async () => {
    await gate.promise
    order.push('a1')
    throw new Error('a1 failed')
  })
  const second = lock.run('a', async () => void order.push('a2'))
  await lock.run('b', async () => void order.push('b1'))
  gate.resolve()
  await t.rejects(first, /a1 failed/)
  await second
  t.same(order, ['b1', 'a1', 'a2'])
})

t.test('connections that need the rules are told from those that do not', (t) => {
  const own = new Set(['127.0.0.1', '::1', '10.0.0.5', 'fd00::5'].map(ip))
  const needs = (line: string) => countInFlight(`${line}\n\n`, own)
  t.equal(needs('0      0          127.0.0.1:15001      10.0.0.5:40000'), 1, 'turned to outbound')
  t.equal(needs('0 0 [::ffff:127.0.0.1]:15001 [::ffff:10.0.0.5]:40000'), 1)
  t.equal(needs('0 0 [::ffff:10.0.0.5]:15006 [::ffff:10.0.0.6]:40000'), 1, 'turned to inbound')
  t.equal(needs('0 0 10.0.0.99:40000 10.0.0.5:80'), 1, 'ztunnel in the name of a client')
  t.equal(needs('0 0 [fd00::99]:40000 [fd00::5]:80'), 1)
  t.equal(needs('0 0 10.0.0.5:80 10.0.0.99:40000'), 0, 'the app’s end of it')
  t.equal(needs('0 0 [::ffff:10.0.0.5]:15008 [::ffff:10.0.0.7]:40000'), 0, 'a pooled tunnel that idles')
  t.equal(needs('0 0 10.0.0.5:40000 10.0.0.7:443'), 0, 'a direct connection')
  t.equal(needs('nonsense'), 0)
  t.end()
})
