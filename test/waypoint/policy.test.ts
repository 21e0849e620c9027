import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { targetedPolicyTypeUrl } from '#policy'
import { addressTypeUrl, serviceEntryExtension } from '#wire'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { scene, tcpUpstream, upstreamOf, vip } from './kit.ts'

const client = 'cluster.local/ns/demo/sa/client'

t.test('requests of whom a policy refuses are answered 403', async (t) => {
  let asked = 0
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => {
    asked++
    response.end('a')
  })
  const s = await scene(t, { a })
  t.equal((await s.get('/')).status, 200, 'without a policy everybody may')
  await s.policy('only-bank', 'allow', ['cluster.local/ns/demo/sa/bank'])
  t.match(await s.get('/'), { status: 403, body: 'RBAC: access denied' })
  t.equal(asked, 1, 'nobody was asked')
  await eventually(() => s.lines().length === 2, 'both are logged')
  t.match(s.lines()[1], / 403 - rbac_access_denied_matched_policy\[demo\/only-bank\] /)
  await s.policy('and-client', 'allow', [client])
  t.equal((await s.get('/')).status, 200, 'one that allows is enough')
  await s.policy('not-client', 'deny', [client])
  t.equal((await s.get('/')).status, 403, 'one that denies too')
})

const targets = [
  ['the waypoint itself', { kind: 'Gateway', namespace: 'demo', name: 'waypoint' }, 403],
  ['another waypoint', { kind: 'Gateway', namespace: 'demo', name: 'other' }, 200],
  ['all waypoints', { kind: 'GatewayClass', namespace: '', name: 'istio-waypoint' }, 403],
  ['the service', { kind: 'Service', namespace: 'demo', name: 'web' }, 403],
  ['another service', { kind: 'Service', namespace: 'demo', name: 'db' }, 200],
  ['the same name elsewhere', { kind: 'Service', namespace: 'bank', name: 'web' }, 200],
  ['a ServiceEntry of the same name', { kind: 'ServiceEntry', namespace: 'demo', name: 'web' }, 200],
  ['what cannot be read, in the namespace', { kind: 'Namespace', namespace: 'demo', name: '' }, 403],
  ['what cannot be read, in the mesh', { kind: 'Namespace', namespace: '', name: '' }, 403],
  ['what cannot be read, elsewhere', { kind: 'Namespace', namespace: 'bank', name: '' }, 200],
] as const

t.test('a policy is about what it is attached to', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
  for (const [title, target, status] of targets) {
    const s = await scene(t, { a })
    await s.policy('deny', 'deny', [client], [target])
    t.equal((await s.get('/')).status, status, title)
  }
})

t.test(
  'a policy of a ServiceEntry lets nobody call the Service of the same name, nor the other way',
  async (t) => {
    const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
    const s = await scene(t, { a })
    const entry = { kind: 'ServiceEntry', namespace: 'demo', name: 'web' } as const
    await s.policy('only-bank', 'allow', ['cluster.local/ns/demo/sa/bank'])
    await s.policy('and-client', 'allow', [client], [entry])
    t.equal((await s.get('/')).status, 403, 'what the ServiceEntry allows is not for the Service')
    const row = { name: 'web', vips: [vip], ports: { 80: 8080 }, waypoint: '127.0.0.1' }
    await s.running.push(addressTypeUrl, serviceResource({ ...row, extensions: [serviceEntryExtension] }))
    t.equal((await s.get('/')).status, 200, 'for the ServiceEntry it is')
    await s.policy('not-client', 'deny', [client], [entry])
    t.equal((await s.get('/')).status, 403)
    await s.running.push(addressTypeUrl, serviceResource(row))
    await s.policy('and-client', 'allow', [client])
    t.equal((await s.get('/')).status, 200, 'and what it denies is not for the Service')
  },
)

t.test('a ServiceEntry is known by its host where an older controller does not tell the kind', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
  const s = await scene(t, { a })
  const entry = { kind: 'ServiceEntry', namespace: 'demo', name: 'web' } as const
  const row = { name: 'web', hostname: 'api.example.com', ports: { 80: 8080 }, waypoint: '127.0.0.1' }
  await s.running.push(addressTypeUrl, serviceResource({ ...row, vips: ['10.96.0.12'] }))
  await s.policy('not-client', 'deny', [client], [entry])
  t.equal((await s.get('/', { authority: '10.96.0.12:80' })).status, 403, 'its policies count')
  t.equal((await s.get('/')).status, 200, 'for the Service of that name they do not')
})

t.test('a policy that cannot be read refuses everybody', async (t) => {
  const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
  const s = await scene(t, { a })
  await s.running.push(targetedPolicyTypeUrl, { 'demo/odd': { bytes: Buffer.from('{"version":2}') } })
  t.equal((await s.get('/')).status, 403)
  await s.running.push(targetedPolicyTypeUrl, {}, ['demo/odd'])
  t.equal((await s.get('/')).status, 200, 'until it is gone')
})

/** `once` would fail for a reset. */
const gone = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()))

t.test('a TCP connection does not outlive its right to exist', async (t) => {
  const a = await tcpUpstream(t, '127.0.0.2', (socket) => void socket.pipe(socket))
  const s = await scene(t, { a })
  await s.route({ protocol: 'tcp' })
  const open = async () => {
    const socket = connect({ host: '127.0.0.1', port: await s.front() })
    socket.on('error', () => undefined)
    return socket
  }
  const socket = await open()
  socket.write('hello')
  t.equal(String((await once(socket, 'data'))[0]), 'hello')
  const closed = gone(socket)
  await s.policy('deny', 'deny', [client])
  await closed
  const again = await open()
  await gone(again)
  t.equal(again.bytesRead, 0, 'and there is no other')
})

t.test(
  'an ALLOW whose target cannot be read lets nobody in whom the policies that can be read keep out',
  async (t) => {
    const a = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('a'))
    const namespaces = ['demo', '']
    for (const namespace of namespaces) {
      const s = await scene(t, { a })
      const odd = { kind: 'Namespace', namespace, name: '' } as const
      await s.policy('odd', 'allow', [client], [odd])
      t.equal((await s.get('/')).status, 200, 'where there are no others it may be the one that counts')
      await s.policy('only-bank', 'allow', ['cluster.local/ns/demo/sa/bank'])
      t.equal((await s.get('/')).status, 403, 'where there is one it may not')
      await s.policy('odd', 'allow', [client], [odd, { kind: 'Service', namespace: 'demo', name: 'web' }])
      t.equal((await s.get('/')).status, 200, 'of what can be read of it it is')
    }
  },
)

t.test(
  'what cannot be read of targets in the namespace of a service counts at a waypoint elsewhere',
  async (t) => {
    const a = await tcpUpstream(t, '127.0.0.2', (socket) => void socket.pipe(socket))
    const s = await scene(t, { a })
    const row = {
      name: 'web',
      namespace: 'bank',
      vips: ['10.96.0.11'],
      ports: { 80: 8080 },
      waypoint: '127.0.0.1',
    }
    await s.running.push(addressTypeUrl, {
      ...serviceResource(row),
      ...workloadResource({
        name: 'b',
        namespace: 'bank',
        node: 'n2',
        addresses: [a.address],
        tunnelProtocol: 0,
        services: { 'bank/web.bank.svc.cluster.local': { 80: a.port } },
      }),
    })
    const say = async () => {
      const socket = connect({ host: '127.0.0.1', port: await s.front('10.96.0.11:80') })
      socket.on('error', () => undefined)
      socket.write('\0hello')
      return socket
    }
    const open = await say()
    await once(open, 'data')
    const closed = gone(open)
    await s.policy('odd', 'allow', [], [{ kind: 'Namespace', namespace: 'bank', name: '' }])
    await closed
    const again = await say()
    await gone(again)
    t.equal(again.bytesRead, 0, 'what was open ended, and there is no other')
    await s.policy('odd', 'allow', [], [{ kind: 'Namespace', namespace: 'shop', name: '' }])
    const last = await say()
    t.equal(String((await once(last, 'data'))[0]), '\0hello', 'until it is about another namespace')
    last.destroy()
  },
)

t.test(
  'what does not look like HTTP gets no further than HTTP on a port that may speak anything',
  async (t) => {
    let heard = ''
    const a = await tcpUpstream(t, '127.0.0.2', (socket) => {
      socket.on('data', (bytes: Buffer) => (heard += bytes.toString('latin1')))
      socket.write('welcome')
    })
    const s = await scene(t, { a })
    const say = async (text: string) => {
      const socket = connect({ host: '127.0.0.1', port: await s.front() })
      socket.on('error', () => undefined)
      if (text !== '') socket.write(text)
      return socket
    }
    const free = await say('\0\x01binary')
    t.equal(String((await once(free, 'data'))[0]), 'welcome', 'without a policy it is TCP')
    free.destroy()
    await eventually(() => heard.includes('binary'), 'it has come through')
    heard = ''
    // A rule that asks for a path, say, allows nobody: the controller has closed it.
    await s.policy('only-bank', 'allow', ['cluster.local/ns/demo/sa/bank'])
    for (const text of ['\0\x01binary', 'FOO', 'F', '\r\n', '']) {
      const socket = await say(text)
      await gone(socket)
      t.equal(socket.bytesRead, 0, JSON.stringify(text))
    }
    t.equal(heard, '')
  },
)
