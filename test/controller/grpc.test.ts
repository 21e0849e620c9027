import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect } from 'node:tls'
import t from 'tap'
import { createRoot, generateKeyPair, issueCertificate, privateKeyPem } from '#identity'
import { closeServer, listen, newGrpcServer, RenewableCredentials } from '../../controller/grpc.ts'

const root = createRoot({ organization: 'test', validityMs: 3600_000 })
const certificate = (name: string) => {
  const keys = generateKeyPair()
  const chainPem = issueCertificate({
    issuer: root,
    publicKey: keys.publicKey,
    dnsNames: [name],
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 600_000),
    usages: ['serverAuth'],
  })
  return { keyPem: privateKeyPem(keys.privateKey), chainPem }
}

const shown = async (port: number): Promise<X509Certificate> => {
  const socket = connect({ host: '127.0.0.1', port, ALPNProtocols: ['h2'], rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { raw } = socket.getPeerCertificate()
  socket.destroy()
  return new X509Certificate(raw)
}

t.test('a renewed certificate is shown to the next connection, without a new listener', async (t) => {
  const server = newGrpcServer()
  const credentials = new RenewableCredentials(certificate('first.test'))
  const port = await listen(server, 0, credentials)
  t.teardown(() => closeServer(server))
  t.ok((await shown(port)).checkHost('first.test'))
  credentials.renew(certificate('second.test'))
  const now = await shown(port)
  t.ok(now.checkHost('second.test'))
  t.notOk(now.checkHost('first.test'))
})

t.test('garbage on the port ends that connection only', async (t) => {
  const server = newGrpcServer()
  const port = await listen(server, 0, new RenewableCredentials(certificate('a.test')))
  t.teardown(() => closeServer(server))
  const plain = connectTcp(port, '127.0.0.1')
  plain.on('error', () => undefined)
  plain.end('GET / HTTP/1.1\r\n\r\n')
  const secure = connect({ host: '127.0.0.1', port, ALPNProtocols: ['h2'], rejectUnauthorized: false })
  secure.on('error', () => undefined)
  await once(secure, 'secureConnect')
  secure.write(Buffer.alloc(100_000, 0xff))
  await once(secure.resume(), 'close')
  t.ok((await shown(port)).checkHost('a.test'))
})

t.test('a port that is taken is one clear error', async (t) => {
  const first = newGrpcServer()
  const port = await listen(first, 0, new RenewableCredentials(certificate('a.test')))
  t.teardown(() => closeServer(first))
  const second = newGrpcServer()
  await t.rejects(listen(second, port, new RenewableCredentials(certificate('a.test'))), {
    code: 'bad-config',
    message: new RegExp(String(port)),
  })
  await closeServer(second)
})
