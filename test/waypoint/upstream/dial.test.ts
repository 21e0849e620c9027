import t from 'tap'
import { keepTime } from '../../../waypoint/proxy/keep-time.ts'
import { dial, isNear, ordinarySocket } from '../../../waypoint/upstream/dial.ts'
import { tcpUpstream } from '../kit.ts'

const addresses: readonly (readonly [address: string, family: number, near: boolean])[] = [
  ['127.0.0.1', 4, true],
  ['127.8.9.10', 4, true],
  ['0.0.0.0', 4, true],
  ['169.254.169.254', 4, true],
  ['::1', 6, true],
  ['::', 6, true],
  ['fe80::1', 6, true],
  ['::ffff:127.0.0.1', 6, true],
  ['::ffff:169.254.169.254', 6, true],
  ['10.0.0.1', 4, false],
  ['93.184.216.34', 4, false],
  ['2001:db8::1', 6, false],
  ['::ffff:10.0.0.1', 6, false],
]
t.test('what nobody reaches from elsewhere', async (t) => {
  for (const [address, family, near] of addresses) t.equal(isNear(address, family), near, address)
})

t.test('times that no timer takes are long', async (t) => {
  const { port } = await tcpUpstream(t, '127.0.0.1', () => undefined)
  const signal = AbortSignal.timeout(20_000)
  const to = { host: '127.0.0.1', port }
  const socket = await dial(to, { newSocket: ordinarySocket, timeoutMs: 2 ** 40, signal })
  socket.destroy()
  const limits = { tcpIdleTimeoutMs: 2 ** 40, maxConnectionDurationMs: 2 ** 40 }
  using _time = keepTime(
    limits,
    () => 0,
    () => t.fail('its time is not over'),
  )
  await new Promise((resolve) => setTimeout(resolve, 50))
})

t.test('a name that a stranger has chosen does not lead to our own ports', async (t) => {
  const { port } = await tcpUpstream(t, '127.0.0.1', () => undefined)
  const signal = AbortSignal.timeout(20_000)
  const options = { newSocket: ordinarySocket, timeoutMs: 20_000, signal }
  const socket = await dial({ host: 'localhost', port }, options)
  socket.destroy()
  await t.rejects(dial({ host: 'localhost', port }, { ...options, farOnly: true }), {
    code: 'connect-failed',
  })
})
