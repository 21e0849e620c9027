import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { connect, createServer } from 'node:tls'
import t from 'tap'
import { parse } from 'yaml'
import {
  createAuthenticator,
  createPki,
  kubeconfigFiles,
  pkiFiles,
  writeKubeconfigs,
} from '../../../../sandbox/api/auth/index.ts'
import { sandboxConfig } from '../../../../sandbox/config.ts'

const stateDir = mkdtempSync(`${tmpdir()}/lateen-pki-`)
t.teardown(() => rmSync(stateDir, { recursive: true }))
const config = {
  ...sandboxConfig('pki-test', 2),
  stateDir,
  pkiDir: `${stateDir}/pki`,
  kubeconfig: `${stateDir}/kubeconfig`,
}
const files = pkiFiles(config)
const read = (path: string) => readFileSync(path, 'utf8')
createPki(config)
writeKubeconfigs(config, 16443)

t.test(
  'the API server and a client of it trust each other, and the client is who its certificate says',
  async (t) => {
    const ca = read(files.ca.certificate)
    const users = [
      [files.admin, 'kubernetes-admin', ['system:masters', 'system:authenticated']],
      [files.controllers, 'system:kube-controller-manager', ['system:authenticated']],
      [files.node('node-2'), 'system:node:node-2', ['system:nodes', 'system:authenticated']],
    ] as const
    const server = createServer({
      key: read(files.apiServer.key),
      cert: read(files.apiServer.certificate),
      ca,
      requestCert: true,
    })
    server.listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') return t.fail('no address')
    const authenticator = createAuthenticator({ signingKeyPem: read(files.serviceAccountKey) })
    for (const [client, username, groups] of users) {
      const accepted = once(server, 'secureConnection')
      const socket = connect({
        host: '127.0.0.1',
        port: address.port,
        ca,
        key: read(client.key),
        cert: read(client.certificate),
      })
      const [peer] = await accepted
      const clientCertificate = peer.getPeerCertificate().raw
      t.match(
        authenticator.authenticate({ clientCertificate }, () => undefined),
        {
          username,
          groups,
          extra: { 'authentication.kubernetes.io/credential-id': [/^X509SHA256=[0-9a-f]{64}$/] },
        },
      )
      socket.destroy()
      peer.destroy()
    }
  },
)

t.test('the API server answers to every name and address that clients use', async (t) => {
  const certificate = new X509Certificate(read(files.apiServer.certificate))
  for (const name of [
    'localhost',
    'kubernetes',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
  ])
    t.ok(certificate.checkHost(name), name)
  for (const ip of ['127.0.0.1', '::1', '10.77.0.2', 'fd77::2', '10.96.0.1'])
    t.ok(certificate.checkIP(ip), ip)
  t.notOk(certificate.checkIP('10.77.0.3'))
})

t.test('a second run keeps everything; a broken leaf is made anew', async (t) => {
  const all = [files.ca, files.apiServer, files.admin, files.node('node-1')].map(
    ({ certificate }) => certificate,
  )
  const before = all.map(read)
  const key = read(files.serviceAccountKey)
  createPki(config)
  t.same(all.map(read), before)
  t.equal(read(files.serviceAccountKey), key)
  writeFileSync(files.admin.certificate, before[2]?.slice(0, 100) ?? '')
  createPki(config)
  t.equal(read(files.ca.certificate), before[0])
  t.not(read(files.admin.certificate), before[2])
  t.ok(new X509Certificate(read(files.admin.certificate)).checkIssued(new X509Certificate(before[0] ?? '')))
})

t.test('a leaf is made anew in its last month', async (t) => {
  const before = read(files.controllers.certificate)
  createPki(config, new Date(Date.now() + 330 * 86_400_000))
  t.equal(read(files.controllers.certificate), before)
  createPki(config, new Date(Date.now() + 340 * 86_400_000))
  t.not(read(files.controllers.certificate), before)
})

t.test('keys and kubeconfigs are for their owner only', async (t) => {
  const paths = [files.ca.key, files.admin.key, files.serviceAccountKey, config.kubeconfig]
  for (const path of paths) t.equal(statSync(path).mode & 0o777, 0o600, path)
})

t.test('each kubeconfig leads its user to the server that it can reach', async (t) => {
  const at = kubeconfigFiles(config)
  const servers = [at.admin, at.controllers, at.node('node-1')].map((path) => parse(read(path)))
  t.same(
    servers.map(({ clusters, users }) => [clusters[0].cluster.server, users[0].name]),
    [
      ['https://127.0.0.1:16443', 'kubernetes-admin'],
      ['https://127.0.0.1:16443', 'system:kube-controller-manager'],
      ['https://10.77.0.2:6443', 'system:node:node-1'],
    ],
  )
})

t.test('a client certificate that says nothing usable is rejected', async (t) => {
  const authenticator = createAuthenticator({ signingKeyPem: read(files.serviceAccountKey) })
  const authenticate = (clientCertificate: Buffer) =>
    authenticator.authenticate({ clientCertificate }, () => undefined)
  t.match(authenticate(Buffer.from('garbage')), { reject: /cannot be read/ })
  t.match(authenticate(new X509Certificate(read(files.ca.certificate)).raw), { reject: /common name/ })
})
