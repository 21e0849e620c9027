import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import { z } from 'zod'
import { KubeClient, loadCluster } from '#kube'
import { sandboxConfig } from '../../sandbox/config.ts'
import { installMesh, repository } from '../../sandbox/demo/mesh.ts'
import { stageOf } from '../../sandbox/demo/stage.ts'
import { median, table } from '../stats.ts'
import { clientPortOf, startHaproxyPair } from './haproxy.ts'
import { iperf, type Load } from './iperf.ts'
import { cpuSeconds, meshPids, openScene, type Scene } from './scene.ts'

const iperfPort = 5201
const echoPort = 5300
const run = promisify(execFile)
const say = (text: string) => process.stdout.write(`${text}\n`)

type Way = Readonly<{
  name: string
  netns: string
  to: (appPort: number) => { host: string; port: number }
  /** The proxies' processes, whose CPU counts. */
  pids: readonly number[]
}>

const loads: readonly Load[] = [
  { name: 'bulk 1 connection up', connections: 1, direction: 'up' },
  { name: 'bulk 1 connection down', connections: 1, direction: 'down' },
  { name: 'bulk 16 connections up', connections: 16, direction: 'up' },
]

const Ping = z.object({ p50: z.number(), p99: z.number(), connectionsPerSecond: z.number() })

/**
 * Bytes pod → ztunnel → ztunnel → pod across two nodes of a sandbox, against direct pod → pod and against a pair of
 * haproxies with mutual TLS in the pods' namespaces. Repetitions are interleaved, so that the machine's mood hits all.
 */
export async function benchL4({
  repetitions,
  seconds,
}: {
  repetitions: number
  seconds: number
}): Promise<void> {
  for (const tool of ['iperf3', 'haproxy'])
    try {
      execFileSync('which', [tool])
    } catch {
      throw new Error(`needs ${tool}: apt-get install ${tool}`)
    }
  const config = sandboxConfig('bench')
  const stage = stageOf(config)
  const signal = AbortSignal.timeout(30 * 60_000)
  await stage.up(signal)
  try {
    using client = new KubeClient(loadCluster(config.kubeconfig))
    await installMesh(client, signal)
    const scene = await openScene(config, client, signal)
    await using haproxies = await startHaproxyPair({
      clientNetns: scene.plainClient.netns,
      serverNetns: scene.plainServer.netns,
      serverIp: scene.plainServer.ip,
      appPorts: [iperfPort, echoPort],
    })
    const ways = waysOf(scene, haproxies.pids, await meshPids(client, 'app=ztunnel'))
    await measure(ways, repetitions, seconds)
  } finally {
    await stage.down()
  }
}

const waysOf = (scene: Scene, haproxies: readonly number[], ztunnels: readonly number[]): readonly Way[] => [
  {
    name: 'direct',
    netns: scene.plainClient.netns,
    to: (port) => ({ host: scene.plainServer.ip, port }),
    pids: [],
  },
  {
    name: 'haproxy mTLS',
    netns: scene.plainClient.netns,
    to: (port) => ({ host: '127.0.0.1', port: clientPortOf(port) }),
    pids: haproxies,
  },
  {
    name: 'lateen',
    netns: scene.meshClient.netns,
    to: (port) => ({ host: scene.meshServer.ip, port }),
    pids: ztunnels,
  },
]

type Row = Readonly<{ title: string; unit: string; digits: number; values: ReadonlyMap<string, number> }>

async function measure(ways: readonly Way[], repetitions: number, seconds: number): Promise<void> {
  const samples = new Map<string, number[]>()
  const note = (row: string, way: Way, value: number) => {
    const key = `${row}\t${way.name}`
    samples.set(key, [...(samples.get(key) ?? []), value])
  }
  for (let repetition = 1; repetition <= repetitions; repetition++) {
    say(`repetition ${repetition} of ${repetitions}`)
    for (const load of loads)
      for (const way of ways) {
        const before = cpuSeconds(way.pids)
        const { gbps, bytes } = await iperf(way.netns, way.to(iperfPort), load, seconds)
        note(load.name, way, gbps)
        // The warm-up second is in the CPU but not in the bytes, for every way alike.
        if (way.pids.length > 0 && load.connections === 1)
          note(`CPU s/GB, ${load.direction}`, way, ((cpuSeconds(way.pids) - before) / bytes) * 1e9)
      }
    for (const way of ways) {
      const { p50, p99, connectionsPerSecond } = await ping(way, seconds)
      note('1 byte round trip p50', way, p50)
      note('1 byte round trip p99', way, p99)
      note('new connections', way, connectionsPerSecond)
    }
  }
  report(ways, samples)
}

async function ping(way: Way, seconds: number) {
  const { host, port } = way.to(echoPort)
  const program = `${repository}bench/l4/ping.ts`
  const { stdout } = await run(
    'nsenter',
    [`--net=${way.netns}`, process.execPath, program, host, String(port), String(seconds)],
    { timeout: (seconds * 2 + 30) * 1000 },
  )
  return Ping.parse(JSON.parse(stdout))
}

const units: Record<string, [unit: string, digits: number]> = {
  bulk: ['Gbit/s', 2],
  CPU: ['s/GB', 2],
  '1': ['us', 0],
  new: ['/s', 0],
}

function report(ways: readonly Way[], samples: ReadonlyMap<string, readonly number[]>): void {
  const titles = [...new Set([...samples.keys()].map((key) => key.split('\t')[0] ?? ''))]
  const rows = titles.map((title): Row => {
    const [unit, digits] = units[title.split(' ')[0] ?? ''] ?? ['', 2]
    const values = ways.flatMap(({ name }): [string, number][] => {
      const found = samples.get(`${title}\t${name}`)
      return found ? [[name, median(found)]] : []
    })
    return { title, unit, digits, values: new Map(values) }
  })
  const cells = (row: Row) => {
    const at = (name: string) => row.values.get(name)
    const ratio = (name: string) => {
      const [ours, theirs] = [at('lateen'), at(name)]
      return ours === undefined || theirs === undefined ? '-' : (ours / theirs).toFixed(2)
    }
    return [
      row.title,
      row.unit,
      ...ways.map(({ name }) => at(name)?.toFixed(row.digits) ?? '-'),
      ratio('haproxy mTLS'),
      ratio('direct'),
    ]
  }
  say('\nMedians:')
  say(
    table([['', '', ...ways.map(({ name }) => name), 'lateen/haproxy', 'lateen/direct'], ...rows.map(cells)]),
  )
}
