import { messageOf } from '#base'
import { startLogging, surviveBugs } from '#telemetry'
import { startZtunnel } from './app.ts'
import { parseConfig } from './config.ts'

/** For the last lines of the log: whoever reads them may have stopped. */
const flushMs = 500

try {
  const config = parseConfig(process.env)
  const logs = startLogging(config.log)
  const log = logs.root('ztunnel')
  const ztunnel = await startZtunnel(config, { logs })
  surviveBugs(ztunnel.ownRegistry, log)
  log.info('started', { node: config.nodeName, ...ztunnel.ports })
  const asked = Promise.withResolvers<string>()
  process.once('SIGTERM', () => asked.resolve('SIGTERM'))
  process.once('SIGINT', () => {
    process.once('SIGINT', () => process.exit(0))
    asked.resolve('SIGINT')
  })
  void ztunnel.quit.then(() => asked.resolve('admin'))
  log.info('shutting down', { by: await asked.promise, within_ms: config.drainMs })
  await ztunnel.drain()
  await ztunnel[Symbol.asyncDispose]()
  await Promise.race([logs.flush(), new Promise((done) => setTimeout(done, flushMs))])
  process.exit(0)
} catch (error) {
  process.stderr.write(`ztunnel: ${messageOf(error)}\n`)
  process.exit(1)
}
