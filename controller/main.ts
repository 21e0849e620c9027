import { setFlagsFromString } from 'node:v8'
import { collectWhenQuiet } from '#base'
import { KubeClient, loadCluster } from '#kube'
import { describeError, startLogging } from '#telemetry'
import { type App, startController } from './app.ts'
import { parseConfig } from './config.ts'

// What a burst leaves behind (a start, a thousand new pods) would stay resident for days: left alone, V8 lets the heap grow to
// several times what is alive before it looks. Costs a few per cent of the processor in a burst, and nothing when it is quiet.
setFlagsFromString('--heap-growing-percent=20')

try {
  const config = parseConfig(process.env)
  const log = startLogging(config.log).root('istiod')
  // A bug ends the process, here as for an uncaught exception: nothing flows through it.
  process.on('unhandledRejection', (error) => {
    log.error('bug: unhandled rejection', { error: describeError(error) })
    process.exit(1)
  })
  collectWhenQuiet(new AbortController().signal)
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
