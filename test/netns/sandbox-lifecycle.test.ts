import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import t from 'tap'
import { KubeClient, kinds, loadCluster, type Pod } from '#kube'
import { down, leftovers, sandboxConfig, supervisorOf, up } from '../../sandbox/index.ts'

t.setTimeout(300_000) // the machine may be busy; each takes a few seconds on an idle one
const config = sandboxConfig('sblife', 1)
const signal = AbortSignal.timeout(300_000)
const skip =
  (process.getuid?.() !== 0 && 'needs root') || (!existsSync('.build/sys.node') && 'needs npm run setup')
const out = (...command: string[]) => execFileSync(command[0] ?? '', command.slice(1), { encoding: 'utf8' })

const pod = (command: string): Pod & { spec: object } => ({
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [{ name: 'app', image: 'busybox', command: ['sh', '-c', command] }],
  },
})

async function eventually<T>(look: () => Promise<T | undefined | false>, what: string): Promise<T> {
  const deadline = Date.now() + 40_000
  for (;;) {
    const found = await look().catch(() => undefined)
    if (found) return found
    if (Date.now() > deadline) throw new Error(`not in 40 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

t.test('the life of a sandbox', { skip }, async (t) => {
  await down(config, { purge: true })
  t.teardown(() => down(config, { purge: true }))
  t.strictSame(leftovers(config), [])
  const before = {
    addresses: out('ip', '-j', 'addr'),
    rules: out('nft', 'list', 'ruleset'),
    routes: out('ip', 'route'),
  }

  const ups = await Promise.all([up(config, { signal }), up(config, { signal })])
  t.equal(ups.filter(({ wasUp }) => wasUp).length, 1, 'of two at once one does it, the other finds it')
  const running = ups.find(({ wasUp }) => !wasUp) ?? ups[0]
  t.comment(`up after ${running.upMs} ms`)
  t.notOk(running.wasUp)
  t.ok((await up(config, { signal })).wasUp, 'a second up finds it as it is')
  using client = new KubeClient(loadCluster(running.kubeconfig))
  const ref = { kind: kinds.Pod, name: 'web', namespace: 'default' }
  const containerOf = async () => {
    const { status } = await client.get(ref)
    const [container] = status?.containerStatuses ?? []
    return container?.ready ? container : undefined
  }
  const pidOf = (name: string) => supervisorOf(config)?.children.find((child) => child.name === name)?.pid

  await t.test('a pod runs, and goes on when its node agent is killed', async (t) => {
    await client.create(kinds.Pod, pod('trap "exit 0" TERM; while :; do sleep 0.1; done'))
    const first = await eventually(containerOf, 'the pod is ready')
    const old = pidOf('node-1')
    process.kill(old ?? 0, 'SIGKILL')
    await eventually(async () => (pidOf('node-1') ?? old) !== old, 'the agent is restarted')
    // The new agent answers for the pod: it ends it in order and removes the object.
    t.strictSame(await containerOf(), first, 'the same container, never restarted')
    await client.delete(ref)
    await eventually(async () => (await client.find(ref)) === undefined, 'the pod is gone')
    t.notOk(
      leftovers(config).some((line) => line.includes('/pods/')),
      'and nothing of it is left',
    )
  })

  await t.test('objects survive down and up, on the same port', async (t) => {
    await client.create(kinds.ConfigMap, {
      metadata: { name: 'kept', namespace: 'default' },
      data: { a: '1' },
    })
    await down(config)
    t.strictSame(leftovers(config), [])
    const again = await up(config, { signal })
    t.equal(again.apiUrl, running.apiUrl)
    using fresh = new KubeClient(loadCluster(again.kubeconfig))
    t.match(await fresh.get({ kind: kinds.ConfigMap, name: 'kept', namespace: 'default' }), {
      data: { a: '1' },
    })
  })

  await t.test('after everything was killed at once, down leaves nothing behind', async (t) => {
    const state = supervisorOf(config)
    if (!state) throw new Error('it is up')
    process.kill(state.supervisor.pid, 'SIGKILL')
    for (const { pid } of state.children.slice(0, 2)) if (pid !== undefined) process.kill(pid, 'SIGKILL')
    t.ok(leftovers(config).length > 0)
    await down(config, { purge: true })
    t.strictSame(leftovers(config), [])
    t.notOk(existsSync(config.stateDir), 'purged')
    const after = {
      addresses: out('ip', '-j', 'addr'),
      rules: out('nft', 'list', 'ruleset'),
      routes: out('ip', 'route'),
    }
    t.strictSame(noTimes(after), noTimes(before), "the machine's own network is as it was")
  })
})

/** Lifetimes of addresses that a router gave count down by themselves. */
const noTimes = (network: Record<string, string>) =>
  JSON.stringify(network).replaceAll(/(preferred|valid)_life_time\\":\d+/g, '')
