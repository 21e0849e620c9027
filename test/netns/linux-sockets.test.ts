import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, readlinkSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import t from 'tap'
import { ip } from '#base'
import {
  bindSocket,
  boundAddress,
  closeFd,
  keepAlive,
  listenSocket,
  migrateRequests,
  netnsFromFd,
  openNetns,
  originalDst,
  raiseFileLimit,
  tcpSocket,
  udpSocket,
} from '#linux'

const skip = process.getuid?.() !== 0 && 'needs root'
const name = `linux-${process.pid}`
const run = (...command: [string, ...string[]]) =>
  execFileSync(command[0], command.slice(1), { stdio: 'pipe' })
const inNetns = (...command: string[]) => run('nsenter', `--net=/run/netns/${name}`, ...command)
const fdOf = (socket: net.Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd

t.test('sockets in another network namespace', { skip }, async (t) => {
  run('ip', 'netns', 'add', name)
  t.teardown(() => run('ip', 'netns', 'del', name))
  inNetns('ip', 'link', 'set', 'lo', 'up')
  inNetns('ip', 'addr', 'add', '10.9.9.9/32', 'dev', 'lo')
  inNetns('ip', '-6', 'addr', 'add', 'fd09::9/128', 'dev', 'lo', 'nodad')
  inNetns('nft', 'add table inet t')
  inNetns('nft', 'add chain inet t out { type nat hook output priority -100; }')
  inNetns('nft', 'add rule inet t out tcp dport 81 meta mark != 0x539 redirect to :15001')
  inNetns('nft', 'add chain inet t marked { type filter hook output priority 0; }')
  inNetns('nft', 'add rule inet t marked tcp dport 82 meta mark 0x539 reject with tcp reset')

  using netns = openNetns(`/run/netns/${name}`)
  const own = readlinkSync('/proc/thread-self/ns/net')

  const listenOn = async (t: { teardown(f: () => unknown): void }, port: number) => {
    const fd = tcpSocket({ netns, family: 'ipv6', mark: 0x539, transparent: true, reusePort: true })
    bindSocket(fd, { address: ip('::'), port })
    const server = net.createServer()
    server.listen({ fd, backlog: 128 })
    await once(server, 'listening')
    t.teardown(() => server.close())
    return server
  }
  const dial = (host: string, port: number, mark?: number) => {
    const fd = tcpSocket({ netns, family: host.includes(':') ? 'ipv6' : 'ipv4', mark })
    return new net.Socket({ fd, allowHalfOpen: true }).connect({ host, port })
  }

  await t.test('a setting of another namespace', async (t) => {
    const setting = '/proc/sys/net/ipv4/tcp_migrate_req'
    const ours = readFileSync(setting, 'utf8')
    migrateRequests(netns)
    t.equal(inNetns('cat', setting).toString().trim(), '1')
    t.equal(readFileSync(setting, 'utf8'), ours)
    t.equal(readlinkSync('/proc/thread-self/ns/net'), own)
    t.throws(() => migrateRequests({ fd: 0, inode: 0n, [Symbol.dispose]: () => undefined }), {
      code: 'syscall-failed',
    })
  })

  await t.test('what a listener accepts has its keepalive', async (t) => {
    const fd = tcpSocket({ netns, family: 'ipv6', reusePort: true })
    keepAlive(fd, { idleMs: 77_000, intervalMs: 5_000, probes: 3, userTimeoutMs: 92_000 })
    bindSocket(fd, { address: ip('::'), port: 8090 })
    const server = net.createServer().listen({ fd })
    await once(server, 'listening')
    const client = dial('10.9.9.9', 8090)
    const [accepted] = (await once(server, 'connection')) as [net.Socket]
    t.teardown(() => {
      client.destroy()
      accepted.destroy()
      server.close()
    })
    const shown = inNetns('ss', '-tno', 'sport', '=', ':8090').toString()
    t.match(shown, /timer:\(keepalive,1min1[0-7]/, shown)
    t.throws(() => keepAlive(0x7fff_ffff, { idleMs: 1, intervalMs: 1, probes: 1, userTimeoutMs: 0 }), {
      code: 'syscall-failed',
    })
  })

  await t.test('a listener made there accepts there, and this thread is still here', async (t) => {
    const server = await listenOn(t, 8080)
    t.equal(readlinkSync('/proc/thread-self/ns/net'), own)
    const port = (server.address() as AddressInfo).port
    t.equal(port, 8080)
    for (const host of ['127.0.0.1', '::1', '10.9.9.9', 'fd09::9']) {
      const accepted = once(server, 'connection')
      const client = dial(host, port)
      const [socket] = await accepted
      const meant = originalDst(fdOf(socket))
      t.same(meant, { address: host, port }, `${host}: not redirected, but this kernel tracks the connection`)
      socket.destroy()
      client.destroy()
    }
    const here = tcpSocket({ family: 'ipv4' })
    t.throws(() => bindSocket(here, { address: ip('10.9.9.9'), port: 0 }), {
      code: 'syscall-failed',
      errno: 99,
    })
    closeFd(here)
  })

  await t.test('the original destination of a redirected connection, IPv4 and IPv6', async (t) => {
    const server = await listenOn(t, 15001)
    for (const host of ['10.9.9.9', 'fd09::9']) {
      const accepted = once(server, 'connection')
      const client = dial(host, 81)
      const [socket] = await accepted
      t.same(originalDst(fdOf(socket)), { address: host, port: 81 })
      socket.destroy()
      client.destroy()
    }
  })

  await t.test('the mark is on the socket', async (t) => {
    const reset = dial('10.9.9.9', 82, 0x539)
    const unmarked = dial('10.9.9.9', 83)
    const codes = await Promise.all(
      [reset, unmarked].map((s) =>
        once(s, 'connect').then(
          () => 'connected',
          (e) => e.code,
        ),
      ),
    )
    t.same(codes, ['ECONNREFUSED', 'ECONNREFUSED'])
    const rules = inNetns('nft', '-a', 'list', 'chain', 'inet', 't', 'marked').toString()
    t.match(rules, /0x00000539/)
    const captured = dial('10.9.9.9', 81, 0x539) // a marked one is not redirected, so nobody answers
    t.match(await once(captured, 'connect').catch((e) => e), { code: 'ECONNREFUSED' })
  })

  await t.test('a transparent, freebind socket takes an address that does not exist', async (t) => {
    for (const [family, address] of [
      ['ipv4', '203.0.113.7'],
      ['ipv6', '2001:db8::7'],
    ] as const) {
      const fd = tcpSocket({ netns, family, mark: 0x539, transparent: true, freebind: true })
      bindSocket(fd, { address: ip(address), port: 0 })
      t.equal(boundAddress(fd).address, address)
      closeFd(fd)
      const plain = tcpSocket({ netns, family })
      t.throws(() => bindSocket(plain, { address: ip(address), port: 0 }), {
        code: 'syscall-failed',
        errno: 99,
      })
      closeFd(plain)
    }
  })

  await t.test('a dual-stack socket binds a mapped IPv4 address; an IPv6-only one refuses', async (t) => {
    const dual = tcpSocket({ netns, family: 'ipv6' })
    bindSocket(dual, { address: ip('10.9.9.9'), port: 0 })
    t.equal(boundAddress(dual).address, '10.9.9.9')
    const only = tcpSocket({ netns, family: 'ipv6', v6only: true })
    t.throws(() => bindSocket(only, { address: ip('10.9.9.9'), port: 0 }), { code: 'syscall-failed' })
    const four = tcpSocket({ netns, family: 'ipv4' })
    t.throws(() => bindSocket(four, { address: ip('fd09::9'), port: 0 }), {
      code: 'syscall-failed',
      errno: 97,
    })
    for (const fd of [dual, only, four]) closeFd(fd)
  })

  await t.test(
    'reusePort lets two listeners share a port, and without it the second is refused',
    async (t) => {
      const open = (reusePort: boolean) => tcpSocket({ netns, family: 'ipv6', reusePort })
      const [a, b, c] = [open(true), open(true), open(false)] as const
      bindSocket(a, { address: ip('::'), port: 9090 })
      bindSocket(b, { address: ip('::'), port: 9090 })
      listenSocket(a, 1)
      listenSocket(b, 1)
      t.throws(() => bindSocket(c, { address: ip('::'), port: 9090 }), { code: 'syscall-failed', errno: 98 })
      for (const fd of [a, b, c]) closeFd(fd)
    },
  )

  await t.test('UDP too', async (t) => {
    const fd = udpSocket({ netns, family: 'ipv4', mark: 0x539 })
    bindSocket(fd, { address: ip('127.0.0.1'), port: 15053 })
    t.same(boundAddress(fd), { address: '127.0.0.1', port: 15053 })
    closeFd(fd)
  })
})

t.test('a connection in a namespace that tracks none has no original destination', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = await once(server, 'connection')
  const meant = originalDst(fdOf(socket))
  t.ok(meant === undefined || meant.port === socket.localPort)
  client.destroy()
  socket.destroy()
  server.close()
})

t.test('what is no network namespace is refused, without a leak', (t) => {
  t.throws(() => openNetns('/dev/null'), { code: 'syscall-failed' })
  t.throws(() => openNetns('/proc/self/ns/uts'), { code: 'syscall-failed', errno: 22 })
  t.throws(() => openNetns('/nonexistent'), { code: 'syscall-failed', errno: 2 })
  const fd = openSync('/proc/self/ns/net', 'r')
  {
    using mine = netnsFromFd(fd)
    t.equal(readlinkSync('/proc/self/ns/net'), `net:[${mine.inode}]`)
  }
  t.throws(() => closeSync(fd), { code: 'EBADF' }, 'dispose closed it')
  t.end()
})

t.test('bad descriptors give errors, not crashes', (t) => {
  for (const call of [() => originalDst(-1), () => boundAddress(-1), () => listenSocket(-1, 1)])
    t.throws(call, { code: 'syscall-failed', errno: 9 })
  t.ok(raiseFileLimit() > 0)
  t.end()
})
