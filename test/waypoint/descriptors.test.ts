import type { Socket } from 'node:net'
import t from 'tap'
import { capacityFor, usualCapacity } from '../../waypoint/capacity.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { tcpUpstream } from './kit.ts'
import { processScene } from './process-kit.ts'

t.test('what may be open at once has descriptors, however few there are', (t) => {
  for (const limit of [64, 256, 1_024, 20_000, 60_000]) {
    const { unused, ...others } = capacityFor(limit)
    const open = Object.values(others).reduce((sum, number) => sum + number, 2 * unused)
    t.ok(open <= 0.8 * limit, `${open} of ${limit}`)
    t.ok(Object.values(others).every((number) => number > 0))
  }
  t.strictSame(capacityFor(65_536), usualCapacity)
  t.strictSame(capacityFor(2 ** 30), usualCapacity)
  t.end()
})

// Row 43 of the torture suite (security facts, R-29), for a waypoint.
for (const limit of [256, 512])
  t.test(`${limit} descriptors and requests that take twice as many`, { timeout: 120_000 }, async (t) => {
    const held: Socket[] = []
    const app = await tcpUpstream(t, '127.0.0.2', (socket) => {
      socket.on('data', (bytes: Buffer) => {
        if (bytes.includes('GET /hang ')) held.push(socket)
        else socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok')
      })
    })
    const s = await processScene(t, app, { wrap: ['prlimit', `--nofile=${limit}:${limit}`] })
    const before = s.waypoint.descriptors
    const crowd = await Promise.allSettled(Array.from({ length: 2 * limit }, () => s.open()))
    const streams = crowd.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    let refused = crowd.length - streams.length
    for (const stream of streams) {
      stream.on('data', () => refused++)
      stream.write('GET /hang HTTP/1.1\r\nhost: web\r\n\r\n')
    }
    await eventually(() => held.length + refused >= 2 * limit, 'each is with the application, or refused')
    t.ok(held.length > 0)
    t.ok(s.waypoint.descriptors < limit - 50, `${s.waypoint.descriptors} in use`)
    t.equal((await s.waypoint.get('readiness', '/healthz/ready')).status, 200, 'probes are answered')
    t.equal((await s.waypoint.get('admin', '/config_dump')).status, 200, 'so is admin')
    t.match(await s.status('/', 'another'), / 200 /, 'and so is another client')
    t.equal((await s.waypoint.metrics()).get('lateen_bugs_total') ?? 0, 0)
    for (const stream of streams) stream.destroy()
    for (const socket of held) socket.destroy()
    await eventually(async () => / 200 /.test(await s.status('/')), 'there is room again')
    // The client's proxy keeps its connections, one per hundred tunnels.
    await eventually(() => s.waypoint.descriptors <= before + 20, 'descriptors are given back')
    t.ok(s.waypoint.alive)
  })
