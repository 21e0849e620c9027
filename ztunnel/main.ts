import { messageOf } from '#base'
import { startLogging } from '#telemetry'
import { startZtunnel } from './app.ts'
import { parseConfig } from './config.ts'

try {
  const config = parseConfig(process.env)
  const logs = startLogging(config.log)
  const log = logs.root('ztunnel')
  // Nothing a peer sends may end the process; what still gets here is a bug, and costs one connection, not the node.
  process.on('uncaughtException', (error) =>
    log.error('uncaught', { error: error.stack ?? messageOf(error) }),
  )
  process.on('unhandledRejection', (error) => log.error('unhandled rejection', { error: messageOf(error) }))
  const ztunnel = await startZtunnel(config, { logs })
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
  process.exit(0)
} catch (error) {
  process.stderr.write(`ztunnel: ${messageOf(error)}\n`)
  process.exit(1)
}
