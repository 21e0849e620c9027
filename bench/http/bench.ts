import { cpuSeconds } from '../process.ts'
import { median, percentile, table } from '../stats.ts'
import { load, startOrigin } from './load.ts'
import { type Peer, startNode, startPeers } from './peers.ts'

const say = (text: string) => process.stdout.write(`${text}\n`)

const scenes = [
  { name: '1 KiB, 64 connections', connections: 64, bodyBytes: 1 << 10 },
  { name: '64 KiB, 16 connections', connections: 16, bodyBytes: 64 << 10 },
]

/**
 * HTTP/1.1 through one proxy, plain to plain: ours against Node's own HTTP and against nginx, haproxy and Envoy, where
 * they are installed. Requests per second of the proxy's own CPU is what a core gives; the machine may be busy with other things.
 */
export async function benchHttp({
  repetitions,
  seconds,
}: {
  repetitions: number
  seconds: number
}): Promise<void> {
  for (const scene of scenes) {
    const origin = await startOrigin(scene.bodyBytes)
    await using stack = new AsyncDisposableStack()
    stack.defer(() => void origin.server.close())
    const peers: Peer[] = []
    for (const kind of ['lateen', 'node'] as const) peers.push(stack.use(await startNode(kind, origin.port)))
    for (const peer of await startPeers(origin.port)) peers.push(stack.use(peer))
    const rows = await measure(peers, scene, repetitions, seconds)
    const ours = rows[0]
    say(`\n${scene.name}; medians of ${repetitions}`)
    say(
      table([
        ['', 'req/s', 'req/s per core', 'us CPU/req', 'p50 ms', 'p99 ms', 'lateen/this per core'],
        ...rows.map((row) => [
          row.name,
          row.rate.toFixed(0),
          row.perCore.toFixed(0),
          (1e6 / row.perCore).toFixed(1),
          row.p50.toFixed(2),
          row.p99.toFixed(2),
          ((ours?.perCore ?? 0) / row.perCore).toFixed(2),
        ]),
      ]),
    )
  }
}

type Row = Readonly<{ name: string; rate: number; perCore: number; p50: number; p99: number }>

async function measure(
  peers: readonly Peer[],
  scene: (typeof scenes)[number],
  repetitions: number,
  seconds: number,
): Promise<Row[]> {
  const samples = peers.map(() => ({
    rate: [] as number[],
    perCore: [] as number[],
    p50: [] as number[],
    p99: [] as number[],
  }))
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const [i, peer] of peers.entries()) {
      let before = 0
      const counting = () => {
        before = cpuSeconds(peer.pid)
      }
      const { requests, seconds: took, latencies } = await load(peer.port, { ...scene, seconds, counting })
      const cpu = cpuSeconds(peer.pid) - before
      samples[i]?.rate.push(requests / took)
      samples[i]?.perCore.push(requests / cpu)
      samples[i]?.p50.push(percentile(latencies, 0.5))
      samples[i]?.p99.push(percentile(latencies, 0.99))
    }
  }
  return peers.map(({ name }, i) => ({
    name,
    rate: median(samples[i]?.rate ?? []),
    perCore: median(samples[i]?.perCore ?? []),
    p50: median(samples[i]?.p50 ?? []),
    p99: median(samples[i]?.p99 ?? []),
  }))
}
