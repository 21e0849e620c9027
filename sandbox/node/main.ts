/** The node agent's process: `nsenter --net=<node> node sandbox/node/main.ts --node node-1`, with its own KUBECONFIG. */
import { once } from 'node:events'
import { flushCompileCache } from 'node:module'
import { parseArgs } from 'node:util'
import { messageOf, retry } from '#base'
import { KubeClient, loadCluster } from '#kube'
import { startLogging } from '#telemetry'
import { sandboxConfig } from '../config.ts'
import { startNodeAgent } from './agent.ts'

const { root } = startLogging({ filter: process.env['RUST_LOG'] ?? 'info' })
const log = root('node')

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { node: { type: 'string' }, nodes: { type: 'string', default: '2' } },
  })
  const config = sandboxConfig(process.env['LATEEN_SANDBOX'], Number(values.nodes))
  const node = config.nodes.find(({ name }) => name === values.node)
  if (!node) throw new RangeError(`--node must be one of ${config.nodes.map(({ name }) => name).join(', ')}`)
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => stop.abort(new Error(signal)))
  using client = new KubeClient(loadCluster())
  // It is being started beside us; watches that fail now would wait longer than it takes.
  await retry(() => client.request('GET', '/version', undefined, { signal: stop.signal }), {
    signal: stop.signal,
    attempts: Infinity,
    baseMs: 100,
    capMs: 300,
    retryable: () => true,
  })
  await using _agent = await startNodeAgent({ config, node, client, signal: stop.signal, log })
  flushCompileCache() // we may be killed
  if (!stop.signal.aborted) await once(stop.signal, 'abort')
}

main().catch((error: unknown) => {
  log.error('the node agent cannot run', { error: messageOf(error) })
  process.exitCode = 1
})
