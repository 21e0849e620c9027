import { setFlagsFromString } from 'node:v8'
import { collectWhenQuiet, messageOf } from '#base'
import { startLogging, surviveBugs } from '#telemetry'
import { startWaypoint } from './app.ts'
import { parseConfig } from './config.ts'

// Where most of what is made in one place lived for long once, V8 makes more of the same old from the start. A request that
// is half old keeps the other half alive after its end: a sixth of all that is allocated would be promoted.
setFlagsFromString('--no-allocation-site-pretenuring')

/** For the last lines of the log: whoever reads them may have stopped. */
const flushMs = 500

try {
  const config = parseConfig(process.env)
  const logs = startLogging(config.log)
  collectWhenQuiet(new AbortController().signal, 'warm')
  const log = logs.root('waypoint')
  const waypoint = await startWaypoint(config, { logs })
  surviveBugs(waypoint.registry, log)
  log.info('started', { identity: config.identity, ...waypoint.ports })
  const asked = Promise.withResolvers<string>()
  process.once('SIGTERM', () => asked.resolve('SIGTERM'))
  process.once('SIGINT', () => {
    process.once('SIGINT', () => process.exit(0))
    asked.resolve('SIGINT')
  })
  void waypoint.quit.then(() => asked.resolve('admin'))
  log.info('shutting down', { by: await asked.promise, within_ms: config.drainMs })
  await waypoint.drain()
  await waypoint[Symbol.asyncDispose]()
  await Promise.race([logs.flush(), new Promise((done) => setTimeout(done, flushMs))])
  process.exit(0)
} catch (error) {
  process.stderr.write(`waypoint: ${messageOf(error)}\n`)
  process.exit(1)
}
