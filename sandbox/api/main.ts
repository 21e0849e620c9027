import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { messageOf } from '#base'
import { startLogging } from '#telemetry'
import { sandboxConfig } from '../config.ts'
import { startApiServer } from './app.ts'

const { root } = startLogging({
  filter: process.env['RUST_LOG'] ?? 'info',
  // stdout carries the one line with the port.
  write: (line) => void process.stderr.write(line),
})
const log = root('api')

async function main(): Promise<void> {
  const { values } = parseArgs({
    // Credentials for as many nodes as a sandbox can have: how many there are is the supervisor's business.
    options: { port: { type: 'string', default: '0' }, nodes: { type: 'string', default: '9' } },
  })
  const port = Number(values.port)
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new RangeError(`--port ${values.port} is no port`)
  const config = sandboxConfig(process.env['LATEEN_SANDBOX'], Number(values.nodes))
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort())
  await using server = await startApiServer({ config, port, log })
  process.stdout.write(`${JSON.stringify({ port: server.port })}\n`)
  if (!stop.signal.aborted) await once(stop.signal, 'abort')
}

main().catch((error: unknown) => {
  log.error('the API server cannot run', { error: messageOf(error) })
  process.exitCode = 1
})
