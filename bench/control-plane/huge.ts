import { percentile } from '../stats.ts'
import { namespaceOfService, serviceName } from './mesh.ts'
import { changeLatencies, churn, coldStart, openScene, openWorld, settledRss } from './scene.ts'

const size = { pods: 100_000, services: 5_000, nodes: 1_000 }
/** ztunnels that ask for what they need: each for some services, and given its node's pods. */
const clients = 10
const servicesAsked = 50

const mib = (bytes: number) => `${(bytes / (1 << 20)).toFixed(0)} MiB`
const say = (text: string) => process.stdout.write(`${text}\n`)

/** Ten times the mesh that is promised, to see what breaks first. No floors. */
export async function benchHuge(): Promise<void> {
  const asked = Array.from({ length: servicesAsked }, (_, n) => n * 7)
  const keys = asked.map(
    (n) => `${namespaceOfService(n)}/${serviceName(n)}.${namespaceOfService(n)}.svc.cluster.local`,
  )
  await using world = await openWorld(size)
  say(`mesh: ${size.pods} pods, ${size.services} services, ${clients} clients on demand`)
  await using scene = await openScene(world, { clients, keys })
  const cold = await coldStart(scene)
  say(
    `cold start: ${(cold.ms / 1000).toFixed(1)} s, ${cold.cpuSeconds.toFixed(1)} s of CPU, ` +
      `${mib(cold.rssBytes)} (peak ${mib(cold.peakBytes)}), ${mib(cold.bytes / clients)} to each client`,
  )
  say(`resident once it is quiet: ${mib(await settledRss(scene))}`)
  // Pods of the services that all clients ask for.
  const latencies = await changeLatencies(scene, 100, (i) => (asked[i % asked.length] ?? 0) + size.services)
  say(
    `one pod changes: p50 ${percentile(latencies, 0.5).toFixed(1)} ms, p99 ${percentile(latencies, 0.99).toFixed(1)} ms`,
  )
  const run = await churn(scene, 200, 15)
  say(
    `${run.changes} changes in ${run.seconds.toFixed(1)} s: ${(run.cpuSeconds / run.seconds).toFixed(2)} cores, ` +
      `${run.pushes} responses, resident ${mib(run.after.rssBytes)}`,
  )
}
