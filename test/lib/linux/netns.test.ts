import t from 'tap'
import { openNetns, tcpSocket } from '#linux'

t.test('a closed namespace gives no descriptor: its number may be somebody else’s by then', async (t) => {
  const netns = openNetns('/proc/self/ns/net')
  t.ok(netns.fd > 2)
  const { fd } = netns
  netns[Symbol.dispose]()
  netns[Symbol.dispose]()
  using other = openNetns('/proc/self/ns/net')
  t.equal(other.fd, fd, 'as here')
  t.throws(() => tcpSocket({ netns, family: 'ipv4' }), { code: 'syscall-failed', errno: 9 })
})
