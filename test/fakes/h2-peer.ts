import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectH2 } from 'node:http2'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { clientTls, type WorkloadCertificate } from '#identity'

type Answer = Readonly<{
  /** 0 when the stream ended without an answer. */
  status: number
  headers: Readonly<Record<string, unknown>>
  body: string
  ms: number
}>
type Ask = Readonly<{
  method?: string
  headers?: Readonly<Record<string, string>>
  /** Sent with the request, before there is an answer. */
  early?: string
  /** Sent after a 200. */
  late?: string
}>

/** A peer of the mesh that speaks Node's own HTTP/2, so that it can ask for what our client never would. */
export class H2Peer {
  readonly session: ClientHttp2Session

  private constructor(session: ClientHttp2Session) {
    this.session = session
  }

  static async open(socket: Socket, certificate: WorkloadCertificate): Promise<H2Peer> {
    socket.on('error', () => undefined)
    const tls = connectTls({ ...clientTls(certificate), socket })
    await once(tls, 'secureConnect', { signal: AbortSignal.timeout(20_000) })
    const session = connectH2('http://peer', { createConnection: () => tls })
    session.on('error', () => undefined)
    return new H2Peer(session)
  }

  /** One request until its end; a refusal ends by itself, an accepted tunnel when both sides have. */
  async ask(authority: string, { method = 'CONNECT', headers = {}, early, late }: Ask = {}): Promise<Answer> {
    const started = performance.now()
    const path = method === 'CONNECT' ? {} : { ':path': '/', ':scheme': 'http' }
    const request = { ':method': method, ':authority': authority, ...path, ...headers }
    const stream = this.session.request(request, { endStream: false })
    const parts: Buffer[] = []
    let answered: Readonly<Record<string, unknown>> = {}
    stream.on('error', () => undefined)
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.on('response', (response) => {
      answered = response
      if (late !== undefined && response[':status'] === 200) stream.end(late)
    })
    if (early !== undefined) stream.write(early)
    if (late === undefined) stream.end()
    const closed = once(stream, 'close', { signal: AbortSignal.timeout(20_000) })
    await closed.catch(() => stream.destroy())
    const status = Number(answered[':status'] ?? 0)
    return {
      status,
      headers: answered,
      body: Buffer.concat(parts).toString(),
      ms: performance.now() - started,
    }
  }

  [Symbol.dispose](): void {
    this.session.destroy()
  }
}
