import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { connect, TLSSocket } from 'node:tls'
import { codeOf, messageOf } from '#base'
import { clientTls, generateKeyPair, parseCaAnswer, serverTls, spiffeId } from '#identity'
import { type Authority, signWorkload } from './authority.ts'

/** Within this process; whoever needs longer has other troubles. */
const handshakeMs = 10_000
const lifetimeMs = 3600_000
/** OpenSSL's lines name its own files, too. */
const maxChars = 300

/**
 * Why no workload would believe a certificate of this authority; undefined when they would. A certificate is signed and
 * shown in a handshake as two nodes have it: OpenSSL has the last word on keys, path lengths, names and dates.
 */
export async function disbelief(authority: Authority, trustDomain: string): Promise<string | undefined> {
  const signal = AbortSignal.timeout(handshakeMs)
  try {
    const keys = generateKeyPair()
    const id = spiffeId({ trustDomain, namespace: 'istio-system', serviceAccount: 'proof' })
    const chain = signWorkload(authority, id, keys.publicKey, lifetimeMs)
    const unfit = authority.intermediates.map(purposeOf).find((text) => text !== undefined)
    if (unfit !== undefined) return unfit
    const certificate = parseCaAnswer(chain, keys.privateKey, id)
    const [here, there] = duplexPair()
    const server = new TLSSocket(there, serverTls(certificate))
    const ended = new Promise<never>((_, reject) => server.on('error', reject))
    const client = connect({ ...clientTls(certificate), socket: here })
    try {
      await Promise.race([once(client, 'secureConnect', { signal }), ended])
      return undefined
    } finally {
      client.on('error', () => undefined).destroy()
      server.destroy()
    }
  } catch (error) {
    const said = messageOf(error).replace(/\s+/g, ' ').slice(0, maxChars)
    const code = codeOf(error)
    return code === undefined ? said : `${code}: ${said}`
  }
}

const [serverAuth, clientAuth, any] = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2', '2.5.29.37.0']

/** A CA that is limited to one side of a handshake serves half a mesh. */
function purposeOf(pem: string): string | undefined {
  const { keyUsage, subject } = new X509Certificate(pem)
  if (keyUsage === undefined || keyUsage.includes(any)) return undefined
  const isFit = keyUsage.includes(serverAuth) && keyUsage.includes(clientAuth)
  return isFit ? undefined : `${subject.replaceAll('\n', ', ')} may not sign for servers and clients alike`
}
