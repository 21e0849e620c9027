import { once } from 'node:events'
import { loadCluster } from '#kube'
import { describeError, startLogging } from '#telemetry'
import { startAgent } from './app.ts'
import { parseConfig } from './config.ts'

try {
  const config = parseConfig(process.env)
  const log = startLogging(config.log).root('cni')
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort())
  await using _agent = await startAgent(config, loadCluster(), log)
  log.info('agent started', { node: config.nodeName })
  if (!stop.signal.aborted) await once(stop.signal, 'abort')
  log.info('agent stops; captured pods stay captured')
} catch (error) {
  process.stderr.write(`cni agent: ${describeError(error)}\n`)
  process.exitCode = 1
}
