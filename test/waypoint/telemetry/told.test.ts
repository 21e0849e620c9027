import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { type WaypointTelemetry, waypointTelemetryTypeUrl } from '#telemetry'
import { until } from '../../fakes/until.ts'
import { type Scene, scene, tcpUpstream, upstreamOf, webKey } from '../kit.ts'

const key = 'waypoint:demo/waypoint'
const log = (text: string, filter?: string) => ({
  format: { kind: 'text', text } as const,
  omitsEmpty: false,
  ...(filter === undefined ? {} : { filter }),
})
const tell = (s: Scene, told: Partial<WaypointTelemetry> | string) =>
  s.running.push(waypointTelemetryTypeUrl, {
    [key]: {
      bytes: Buffer.from(
        typeof told === 'string'
          ? told
          : JSON.stringify({ version: 1, logs: [], metrics: {}, services: {}, ...told }),
      ),
    },
  })

t.test('what is logged is what the control plane says now, and the last good word counts', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('hello'))
  const s = await scene(t, { a }, { ACCESS_LOG_FORMAT: '' })
  let asked = 0
  /** The lines of one request; a second one that is certainly logged tells when they are all there. */
  const linesOf = async (path: string): Promise<readonly string[]> => {
    const before = s.lines().length
    const counted = async () =>
      [
        ...(await s.running.waypoint.registry.metrics()).matchAll(/^istio_requests_total\{.*\} (\d+)$/gm),
      ].reduce((sum, [, n]) => sum + Number(n), 0)
    t.equal((await s.get(path)).status, 200)
    asked++
    for (let n = 0; n < 2_000 && (await counted()) < asked; n++)
      await new Promise((done) => setTimeout(done, 10))
    return s.lines().slice(before)
  }
  t.strictSame(await linesOf('/a'), [], 'nothing has been said: Istio logs nothing')
  await tell(s, { logs: [log('one %REQ(:PATH)%\n'), log('two', 'response.code >= 400')] })
  t.strictSame(await linesOf('/b'), ['one /b'])
  await tell(s, { logs: [log('changed %NOSUCH%')] })
  t.strictSame(await linesOf('/c'), ['one /c'], 'an operator that nobody knows: refused as a whole')
  await tell(s, 'garbage')
  await tell(s, { logs: [log('x', 'response.code +')] })
  await tell(s, '{"version":2}')
  t.strictSame(await linesOf('/d'), ['one /d'])
  await tell(s, { logs: [log('own')], services: { [webKey]: { logs: [log('of web')], metrics: {} } } })
  t.strictSame(await linesOf('/e'), ['of web'], 'a service may have a log of its own')
  await tell(s, { logs: [log('own')], services: { [webKey]: { logs: [], metrics: {} } } })
  t.strictSame(await linesOf('/f'), [], 'or none')
  await s.running.push(waypointTelemetryTypeUrl, {}, [key])
  t.strictSame(await linesOf('/g'), [], 'nothing is said any more')
})

t.test('who runs a waypoint may say for himself what it logs', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('hello'))
  const s = await scene(t, { a }, { ACCESS_LOG_FORMAT: 'text' })
  await tell(s, { logs: [] })
  await s.get('/a')
  await until(() => s.lines().length === 1, 'a line')
  t.match(s.lines()[0], /"GET \/a HTTP\/1\.1" 200/)
})

t.test('a TCP connection has a line of the same format', async (t) => {
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => void socket.end('hello'))
  const s = await scene(t, { a })
  await s.route({ protocol: 'tcp' })
  const socket = connect({ host: '127.0.0.1', port: await s.front(), allowHalfOpen: true })
  socket.end('abc')
  socket.resume()
  await once(socket, 'close')
  await until(() => s.lines().length === 1, 'a line')
  t.match(
    s.lines()[0],
    /^\[[^\]]+\] "- - -" 0 - - - "-" 3 5 \d+ - "-" "-" "-" "-" "127\.0\.0\.2:\d+" inbound-vip\|80\|tcp\|web\.demo\.svc\.cluster\.local - 10\.96\.0\.10:80 127\.0\.0\.1:\d+ - -$/,
  )
  t.notOk(
    s.running.lines.some(({ message }) => message === 'connection complete'),
    'and no other',
  )
})

t.test('a TCP connection that nobody takes says why', async (t) => {
  const s = await scene(t, {})
  await s.route({ protocol: 'tcp' })
  const socket = connect({ host: '127.0.0.1', port: await s.front() })
  socket.on('error', () => undefined)
  await once(socket, 'close').catch(() => undefined)
  await until(() => s.lines().length === 1, 'a line')
  t.match(s.lines()[0], / "- - -" 0 UH - - "no healthy upstream for [^"]+" 0 0 /)
  t.ok(s.running.lines.some(({ message, level }) => message === 'connection complete' && level === 'error'))
})
