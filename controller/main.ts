import { KubeClient, loadCluster } from '#kube'
import { describeError, startLogging } from '#telemetry'
import { type App, startController } from './app.ts'
import { parseConfig } from './config.ts'

try {
  const config = parseConfig(process.env)
  const log = startLogging(config.log).root('istiod')
  // A bug ends the process, here as for an uncaught exception: nothing flows through it.
  process.on('unhandledRejection', (error) => {
    log.error('bug: unhandled rejection', { error: describeError(error) })
    process.exit(1)
  })
  let app: App | undefined
  const end = async (name: string) => {
    log.info('ending', { signal: name })
    await app?.[Symbol.asyncDispose]()
    process.exit(0)
  }
  // Before the start, which may wait for the API server: process 1 of a container ignores signals without a handler.
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => void end(name))
  app = await startController(config, new KubeClient(loadCluster()), log)
} catch (error) {
  process.stderr.write(`istiod: ${describeError(error)}\n`)
  process.exit(1)
}
