import { messageOf } from '#base'
import { KubeClient, loadCluster } from '#kube'
import { describeError, startLogging } from '#telemetry'
import { startController } from './app.ts'
import { parseConfig } from './config.ts'

const config = parseConfig(process.env)
const log = startLogging(config.log).root('istiod')

process.on('unhandledRejection', (error) => {
  log.error('bug: unhandled rejection', { error: describeError(error) })
  process.exit(1)
})

try {
  const client = new KubeClient(loadCluster())
  const app = await startController(config, client, log)
  const end = async (name: string) => {
    log.info('ending', { signal: name })
    await app[Symbol.asyncDispose]()
    process.exit(0)
  }
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => void end(name))
} catch (error) {
  log.error('cannot start', { error: describeError(error) })
  process.stderr.write(`istiod: ${messageOf(error)}\n`)
  process.exit(1)
}
