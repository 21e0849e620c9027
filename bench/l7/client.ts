import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { ip, type SocketAddress } from '#base'
import { type ByteStream, HbonePool, socketBytes } from '#hbone'
import type { SpiffeId, WorkloadCertificate } from '#identity'

/** Opens connections to the application, by whatever way. */
export type Way = Readonly<{
  name: string
  /** Of the proxy whose cost counts; none where there is no proxy. */
  pid: number | undefined
  open(): Promise<ByteStream>
}>

async function dial({ address, port }: SocketAddress) {
  const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true })
  await once(socket, 'connect')
  return socket
}

/** Tunnels as a ztunnel makes them: all on one connection, the client's own identity. */
export class HboneClient implements AsyncDisposable {
  readonly #certificate: WorkloadCertificate
  readonly #pool = new HbonePool({ signal: new AbortController().signal })

  constructor(certificate: WorkloadCertificate) {
    this.#certificate = certificate
  }

  async open(to: SocketAddress, expected: SpiffeId, authority: string): Promise<ByteStream> {
    const tunnel = await this.#pool.connect({
      key: { source: this.#certificate.id, expected: [expected], to, sourceIp: '127.0.0.1' },
      certificate: async () => this.#certificate,
      dial: () => dial(to),
      authority,
      headers: {},
      signal: AbortSignal.timeout(20_000),
    })
    return tunnel.byteStream()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#pool[Symbol.asyncDispose]()
  }
}

/** A TLS connection with a client certificate, for proxies that do not speak HBONE. */
export async function openTls(port: number, own: WorkloadCertificate): Promise<ByteStream> {
  const socket = connectTls({
    socket: await dial({ address: ip('127.0.0.1'), port }),
    cert: own.chainPem.join(''),
    key: own.privateKeyPem,
    ca: [...own.rootsPem],
    minVersion: 'TLSv1.3',
    checkServerIdentity: () => undefined, // the chain is enough here: names are in SPIFFE IDs
  })
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  return socketBytes(socket)
}
