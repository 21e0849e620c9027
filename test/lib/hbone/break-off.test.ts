import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { breakOff } from '#hbone'
import { listen } from '../http/support.ts'

/** Both ends of a connection, and what the far one ends with. */
async function pair(t: Test) {
  const server = createServer({ allowHalfOpen: true })
  const accepted = once(server, 'connection')
  const near = connect({ port: await listen(t, server), host: '127.0.0.1', allowHalfOpen: true })
  const [far]: Socket[] = await accepted
  if (!far) throw new Error('nobody came')
  t.teardown(() => [near, far].forEach((socket) => socket.destroy()))
  near.on('error', () => undefined)
  const ended = new Promise<string>((resolve) => {
    far.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
    far.on('end', () => resolve('end'))
    far.resume()
  })
  return { near, ended }
}

t.test('what is broken off is a reset to the other end, not an end', async (t) => {
  const { near, ended } = await pair(t)
  const closed = once(near, 'close')
  breakOff(near)
  t.equal(await ended, 'ECONNRESET')
  await closed
})

t.test('it closes while its own end is under way, which a reset alone does not', async (t) => {
  const { near } = await pair(t)
  const closed = once(near, 'close')
  near.end()
  breakOff(near)
  await closed
  t.equal(near.destroyed, true)
})

t.test('twice is once', async (t) => {
  const { near, ended } = await pair(t)
  breakOff(near)
  breakOff(near)
  t.equal(await ended, 'ECONNRESET')
})
