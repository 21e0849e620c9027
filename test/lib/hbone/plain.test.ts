import { once } from 'node:events'
import t, { type Test } from 'tap'
import { forwardSockets } from '#hbone'
import { never, noise, readAll, sha, tcpPair } from './support.ts'

/** Two applications with a forward between them. */
async function joined(t: Test, signal: AbortSignal = never) {
  const [left, a] = await tcpPair(t)
  const [b, right] = await tcpPair(t)
  return { left, right, done: forwardSockets(a, b, signal) }
}

t.test('every byte arrives, both ways at once, on many connections', async (t) => {
  const sizes = [0, 1, 65_535, 65_536, 262_145, 9_000_000, 20_000_000]
  await Promise.all(
    sizes.map(async (size) => {
      const { left, right, done } = await joined(t)
      const [there, back] = [noise(size), noise(size)]
      left.end(there)
      right.end(back)
      const [atRight, atLeft] = await Promise.all([readAll(right), readAll(left)])
      t.equal(sha(atRight), sha(there), `${size} bytes there`)
      t.equal(sha(atLeft), sha(back), `${size} bytes back`)
      t.strictSame(await done, { toApp: size, fromApp: size })
    }),
  )
})

t.test('one direction may end long before the other', async (t) => {
  const { left, right, done } = await joined(t)
  left.end('question')
  t.equal((await readAll(right)).toString(), 'question')
  right.write('long ')
  await once(left, 'data')
  right.end('answer')
  t.equal((await readAll(left)).toString(), 'answer')
  t.strictSame(await done, { toApp: 8, fromApp: 11 })
})

t.test('what came before the forward began is not lost', async (t) => {
  const [left, a] = await tcpPair(t)
  const [b, right] = await tcpPair(t)
  left.end('early')
  right.end('bird')
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  const done = forwardSockets(a, b, never)
  t.equal((await readAll(right)).toString(), 'early')
  t.equal((await readAll(left)).toString(), 'bird')
  await done
})

t.test('a side that ended before the forward began is ended on the other', async (t) => {
  const [left, a] = await tcpPair(t)
  const [b, right] = await tcpPair(t)
  left.end()
  await once(a, 'end')
  const done = forwardSockets(a, b, never)
  t.equal((await readAll(right)).length, 0)
  right.end('answer')
  t.equal((await readAll(left)).toString(), 'answer')
  t.strictSame(await done, { toApp: 0, fromApp: 6 })
})

t.test('a slow reader holds back its writer', async (t) => {
  const { left, right, done } = await joined(t)
  right.pause()
  const bytes = noise(40 << 20)
  left.end(bytes)
  let before = -1
  while (before !== left.bytesWritten - left.writableLength) {
    before = left.bytesWritten - left.writableLength
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  t.ok(left.writableLength > 0)
  const back = readAll(left)
  right.end()
  t.equal(sha(await readAll(right)), sha(bytes))
  await Promise.all([back, done])
})

t.test('a reset on one side is a reset on the other', async (t) => {
  const { left, right, done } = await joined(t)
  left.write('x')
  await once(right, 'data')
  const closed = new Promise((resolve) => right.once('error', resolve))
  left.resetAndDestroy()
  t.match(await closed, { code: 'ECONNRESET' })
  t.strictSame(await done, { toApp: 1, fromApp: 0 })
})

t.test('abort resets both sides, with the reason', async (t) => {
  const stop = new AbortController()
  const { left, right, done } = await joined(t, stop.signal)
  left.write('x')
  await once(right, 'data')
  const reason = new Error('pod is gone')
  const reset = { code: 'ECONNRESET' }
  const both = [left, right].map((side) => t.rejects(once(side, 'end'), reset))
  stop.abort(reason)
  t.strictSame(await done, { toApp: 1, fromApp: 0, error: reason })
  await Promise.all(both)
})

t.test('sockets that are gone already end the forward at once', async (t) => {
  const [, a] = await tcpPair(t)
  const [b] = await tcpPair(t)
  a.destroy()
  await once(a, 'close')
  t.strictSame(await forwardSockets(a, b, never), { toApp: 0, fromApp: 0 })
})

t.test("where Node's read buffers cannot be replaced, 'data' events carry the same bytes", async (t) => {
  const [left, a] = await tcpPair(t)
  const [b, right] = await tcpPair(t)
  for (const socket of [a, b]) {
    Object.defineProperty(Reflect.get(socket, '_handle'), 'useUserBuffer', { value: undefined })
  }
  const done = forwardSockets(a, b, never)
  const [there, back] = [noise(8_000_000), noise(5_000_000)]
  left.end(there)
  right.end(back)
  const [atRight, atLeft] = await Promise.all([readAll(right), readAll(left)])
  t.equal(sha(atRight), sha(there))
  t.equal(sha(atLeft), sha(back))
  t.strictSame(await done, { toApp: 8_000_000, fromApp: 5_000_000 })
})
