import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import t from 'tap'
import { sandboxConfig } from '../../sandbox/config.ts'
import { compileCache } from '../../sandbox/compile-cache.ts'
import { findImage } from '../../sandbox/images/index.ts'
import {
  createPodNetns,
  createTopology,
  findLeftovers,
  podNetnsPath,
  run,
  sweep,
} from '../../sandbox/net/index.ts'
import { ContainerRun, execToEnd, keepTarget } from '../../sandbox/node/container-run.ts'
import { readLog } from '../../sandbox/node/logs/read.ts'
import type { ProbeNews } from '../../sandbox/node/probes/prober.ts'
import { initOf, startContainer, waitForExit } from '../../sandbox/node/runtime/container.ts'
import type { ContainerPlan } from '../../sandbox/node/runtime/init-script.ts'
import { isAlive, signalProcess } from '../../sandbox/node/runtime/process.ts'
import { podOf } from '../sandbox/node/pods.ts'

t.setTimeout(300_000) // the machine may be busy; each takes a few seconds on an idle one
const config = sandboxConfig('sbctr', 1)
const [node] = config.nodes
if (!node) throw new Error('one node')
const signal = AbortSignal.timeout(300_000)
const skip = process.getuid?.() !== 0 && 'needs root'
const base = `${config.runDir}/nodes/node-1/pods/uid`
const found = findImage('lateen:dev', compileCache)
const image = found.kind === 'image' ? found.image : undefined

const planOf = (name: string, script: string, extra: Partial<ContainerPlan> = {}): ContainerPlan => ({
  dir: `${base}/containers/${name}/0`,
  netns: podNetnsPath(node, 'cni-x'),
  hostname: 'pod-x',
  processes: 'own',
  command: ['sh', '-c', script],
  env: { ...image?.env, GREETING: "it's $HOME" },
  workingDir: '/',
  mounts: [],
  user: { uid: 0, gid: 0, groups: [] },
  capabilities: ['chown', 'net_raw'],
  readOnlyRoot: false,
  ...extra,
})
async function start(plan: ContainerPlan) {
  const started = await startContainer(plan, signal)
  if (started.kind === 'failed') throw new Error(started.message)
  await keepTarget(plan)
  return started.init
}
const stdout = (plan: ContainerPlan) => readFileSync(`${plan.dir}/stdout`, 'utf8')
async function until(condition: () => boolean) {
  const deadline = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('condition not met in 20 s')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

t.test('containers', { skip }, async (t) => {
  await sweep(config)
  t.teardown(() => sweep(config))
  await createTopology(config, signal)
  await createPodNetns(node, 'cni-x', signal)

  await t.test('a program runs with its own root, processes, host name and rights', async (t) => {
    const plan = planOf(
      'own',
      'echo $GREETING $$ $(hostname); touch /etc/mine; ls /root | wc -l; grep CapBnd /proc/self/status; ls /proc | grep -c "^[0-9]"',
    )
    await start(plan)
    t.strictSame(await waitForExit(plan.dir, signal).then(({ code }) => code), 0)
    const [first, inRoot, rights, processes] = stdout(plan).split('\n')
    t.equal(first, "it's $HOME 1 pod-x")
    t.equal(inRoot, '0', "the machine's /root is not shown")
    t.equal(rights, 'CapBnd:\t0000000000002001')
    t.ok(Number(processes) <= 4, 'only its own processes')
    t.notOk(existsSync('/etc/mine'), "what it wrote is not on the machine's disk")
  })

  await t.test('it lives in the network of its pod', async (t) => {
    const plan = planOf('net', 'readlink /proc/self/ns/net; sleep 60')
    const init = await start(plan)
    await until(() => stdout(plan) !== '')
    t.equal(stdout(plan).trim(), readlinkSync(`/proc/${init.pid}/ns/net`))
    t.not(stdout(plan).trim(), readlinkSync('/proc/self/ns/net'))
    signalProcess(init, 'SIGKILL')
    t.equal((await waitForExit(plan.dir, signal)).code, 137)
  })

  await t.test('mounts: read-only, files, and namespaces that appear later', async (t) => {
    await mkdir(`${base}/vol`, { recursive: true })
    await writeFile(`${base}/vol/a`, 'content')
    await writeFile(`${base}/resolv`, 'nameserver 10.96.0.10\n')
    const plan = planOf('mounts', 'cat /data/a /etc/resolv.conf; touch /data/b || echo refused; sleep 60', {
      mounts: [
        { source: `${base}/vol`, target: '/data', kind: 'dir', readOnly: true, propagation: 'private' },
        {
          source: `${base}/resolv`,
          target: '/etc/resolv.conf',
          kind: 'file',
          readOnly: false,
          propagation: 'private',
        },
        {
          source: `${node.root}/run/netns`,
          target: '/host/var/run/netns',
          kind: 'dir',
          readOnly: false,
          propagation: 'slave',
        },
      ],
    })
    const init = await start(plan)
    await until(() => stdout(plan).includes('refused'))
    t.equal(stdout(plan), 'contentnameserver 10.96.0.10\nrefused\n')
    await createPodNetns(node, 'cni-later', signal)
    const seen = await execToEnd(
      plan,
      [
        'sh',
        '-c',
        'nsenter --net=/host/var/run/netns/cni-later true 2>&1; stat -f -c %T /host/var/run/netns/cni-later',
      ],
      signal,
    )
    t.match(seen.output, /nsfs/, 'a namespace made after the container started')
    signalProcess(init, 'SIGKILL')
    await waitForExit(plan.dir, signal)
  })

  await t.test('a user that is not root dies with the shell above it, too', async (t) => {
    const plan = planOf('user', 'id -u; id -G; sleep 60', { user: { uid: 1000, gid: 1001, groups: [5] } })
    const init = await start(plan)
    await until(() => stdout(plan).split('\n').length > 2)
    t.equal(stdout(plan), '1000\n1001 5\n')
    const parent = (pid: number) =>
      Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
    const shell = parent(init.pid)
    t.match(readFileSync(`/proc/${shell}/cmdline`, 'utf8'), /run\.sh/)
    process.kill(shell, 'SIGKILL')
    t.equal((await waitForExit(plan.dir, signal)).code, 137)
    // The kernel kills it at the same moment as the outer shell is told; whose turn comes first is open.
    await until(() => !isAlive(init))
  })

  await t.test('what cannot be built or run says why', async (t) => {
    const bad = planOf('bad', 'true', {
      mounts: [{ source: '/nowhere', target: '/x', kind: 'dir', readOnly: true, propagation: 'private' }],
    })
    t.match(await startContainer(bad, signal), {
      kind: 'failed',
      message: /\/x: special device .*nowhere does not exist/,
    })
    const missing = { ...planOf('missing', ''), command: ['/no/such/program'] }
    await startContainer(missing, signal)
    t.equal((await waitForExit(missing.dir, signal)).code, 127)
    t.match(readFileSync(`${missing.dir}/stderr`, 'utf8'), /no\/such\/program/)
  })

  await t.test('probes and preStop act, logs are kept, another agent takes over', async (t) => {
    const plan = planOf(
      'run',
      'trap "echo bye; exit 5" TERM; echo out; echo err >&2; while :; do sleep 0.05; done',
    )
    await start(plan)
    const [container] = podOf({
      containers: [
        {
          name: 'run',
          readinessProbe: { exec: { command: ['test', '-e', '/tmp/ready'] }, periodSeconds: 1 },
          lifecycle: { preStop: { exec: { command: ['sh', '-c', 'echo pre >/proc/1/fd/1'] } } },
        },
      ],
    }).spec.containers
    if (!container) throw new Error('one container')
    const news: ProbeNews[] = []
    const options = { dir: plan.dir, container, podIp: '', started: false, onExit: () => undefined }
    const first = new ContainerRun({ ...options, onProbe: (each) => news.push(each) })
    await until(() => news.some(({ kind }) => kind === 'unhealthy'))
    await execToEnd(plan, ['touch', '/tmp/ready'], signal)
    await until(() => news.some((each) => each.kind === 'ready' && each.ready))
    await first.release()
    t.ok(isAlive(initOf(plan.dir) ?? { pid: 0, startTime: '' }), 'a container outlives its agent')
    const second = new ContainerRun({ ...options, started: true, onProbe: () => undefined })
    await second.stop(5_000)
    t.equal((await second.exited).code, 5)
    const query = {
      follow: false,
      timestamps: false,
      tailLines: undefined,
      since: undefined,
      limitBytes: undefined,
    }
    const lines = (await Array.fromAsync(readLog(plan.dir, query, signal))).join('').trim().split('\n').sort()
    t.strictSame(lines, ['bye', 'err', 'out', 'pre'], 'each line once')
  })

  await t.test('exec gives back the exit code and ends with its caller', async (t) => {
    const plan = planOf('exec', 'sleep 60')
    await start(plan)
    t.match(await execToEnd(plan, ['sh', '-c', 'echo hi; exit 7'], signal), { code: 7, output: 'hi\n' })
    const abort = new AbortController()
    const hanging = execToEnd(plan, ['sleep', '12345'], abort.signal)
    const alive = async () => (await run(['pgrep', '-f', '^sleep 12345'])).stdout !== ''
    while (!(await alive()));
    abort.abort(new Error('client went away'))
    await t.rejects(hanging, { message: 'client went away' })
    t.notOk(await alive())
  })

  await t.test('a sweep ends what was left running', async (t) => {
    t.ok(findLeftovers(config).processes.length > 0, 'the container of the test before')
    await sweep(config)
    t.strictSame(findLeftovers(config), { processes: [], mounts: [], netns: [], directories: [] })
  })
})
