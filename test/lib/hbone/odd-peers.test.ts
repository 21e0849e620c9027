import { connect, createSecureContext, TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { MeshError } from '#base'
import { secureClient, secureServer } from '../../../lib/hbone/handshake.ts'
import { pemOfKey } from '../identity/certificate-kit.ts'
import { believed, root, type Row, rows, type Shown } from './odd-peers.ts'
import { certificateOf, idOf, never, tcpPair } from './support.ts'

// Hand-made certificates, each shown in a real handshake to our server and to our client: only the good ones pass.

const rootsPem = believed.map(({ certPem }) => certPem)
const issuer = { certPem: root.certPem, keyPem: pemOfKey(root.key) }
const ours = { ...certificateOf(idOf('us'), issuer), rootsPem }
const waits = { timeoutMs: 20_000, signal: never }

/** The peer is not careful at all, and shows whatever it has. */
const careless = ({ key, chain }: Shown) => ({
  secureContext: createSecureContext({
    key: pemOfKey(key),
    cert: chain.join(''),
    ca: rootsPem,
    ciphers: 'TLS_AES_256_GCM_SHA384:DEFAULT:@SECLEVEL=0',
    minVersion: 'TLSv1.3',
    sigalgs: 'ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:RSA-PSS+SHA256:Ed25519:Ed448:ECDSA+SHA1:RSA+SHA1',
  }),
  ALPNProtocols: ['h2'],
  rejectUnauthorized: false,
})

type Verdict = { passed: boolean; error?: unknown; heard: number }

async function verdictOf(peer: TLSSocket, handshake: Promise<{ tls: TLSSocket }>): Promise<Verdict> {
  let heard = 0
  peer.on('data', (bytes: Buffer) => {
    heard += bytes.length
  })
  peer.on('error', () => undefined)
  try {
    const { tls } = await handshake
    tls.destroy()
    return { passed: true, heard }
  } catch (error) {
    return { passed: false, error, heard }
  } finally {
    peer.destroy()
  }
}

async function toServer(t: Test, shown: Shown): Promise<Verdict> {
  const [theirs, mine] = await tcpPair(t)
  const peer = connect({ ...careless(shown), socket: theirs })
  return verdictOf(peer, secureServer(mine, ours, waits))
}

async function toClient(t: Test, shown: Shown): Promise<Verdict> {
  const [mine, theirs] = await tcpPair(t)
  const peer = new TLSSocket(theirs, { ...careless(shown), isServer: true, requestCert: true })
  return verdictOf(peer, secureClient(mine, ours, [idOf('peer')], waits))
}

const reasonOf = ({ error }: Verdict) => (error instanceof MeshError ? error.code : String(error))

function judge(t: Test, row: Row, role: 'server' | 'client', verdict: Verdict) {
  const fits = row.fits === 'both' || row.fits === role
  t.equal(verdict.passed, fits, `as a ${role}: ${reasonOf(verdict)}`)
  if (!fits) t.equal(reasonOf(verdict), 'tls-failed')
  t.equal(verdict.heard, 0, 'not a byte')
}

t.test('there are enough of them, with good ones among them', async (t) => {
  t.ok(rows.length >= 120, `${rows.length}`)
  t.ok(rows.filter(({ fits }) => fits === 'both').length >= 25)
})

for (const row of rows) {
  const who = row.fits === 'both' ? 'passes' : row.fits === 'none' ? 'is refused' : `passes as a ${row.fits}`
  t.test(`a peer with ${row.title} ${who}`, async (t) => {
    judge(t, row, 'client', await toServer(t, row.shown))
    judge(t, row, 'server', await toClient(t, row.shown))
  })
}
