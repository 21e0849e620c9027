import { once } from 'node:events'
import http2 from 'node:http2'
import { connect } from 'node:net'
import tls from 'node:tls'
import { WebSocket } from 'ws'
import { type Answer, type Ask, noAnswer } from '../kit/answer.ts'
import { webSocketOver } from './websocket-over.ts'

type TcpAsk = Extract<Ask, { kind: 'tcp' }>
type WebSocketAsk = Extract<Ask, { kind: 'websocket' }>

/** Sends a line and hears one, again and again if told so. */
export async function askTcp(ask: TcpAsk, signal: AbortSignal): Promise<Answer> {
  if (ask.count === undefined) return heard(ask, signal)
  const tally: Record<string, number> = {}
  for (let i = 0; i < ask.count; i++) {
    const word = await heard(ask, signal).then(
      ({ body }) => body.trim(),
      (error: NodeJS.ErrnoException) => error.code ?? error.message,
    )
    tally[word] = (tally[word] ?? 0) + 1
  }
  return { ...noAnswer, tally }
}

async function heard({ host, port, send, serverName }: TcpAsk, signal: AbortSignal): Promise<Answer> {
  const socket = connect({ host, port, signal, allowHalfOpen: true })
  const stream =
    serverName === undefined
      ? socket
      : tls.connect({ socket, servername: serverName, rejectUnauthorized: false })
  try {
    if (stream !== socket) await once(stream, 'secureConnect', { signal })
    if (send !== undefined) stream.write(send)
    let body = ''
    for await (const part of stream as AsyncIterable<Buffer>) {
      body += part.toString()
      if (serverName === undefined ? body.endsWith('\n') : body.endsWith('}')) break
    }
    // Of an answer over TLS what the app says, without the chunks around it.
    return { ...noAnswer, body: /\{[^]*\}/.exec(body)?.[0] ?? body }
  } finally {
    stream.destroy()
    socket.destroy()
  }
}

/** Hears the greeting, then an answer to each message. */
export async function askWebSocket(ask: WebSocketAsk, signal: AbortSignal): Promise<Answer> {
  if (ask.version === 2) return overHttp2(ask, signal)
  const socket = new WebSocket(ask.url, { headers: { ...ask.headers }, handshakeTimeout: 10_000 })
  let status = 101
  socket.on('unexpected-response', (request, response) => {
    status = response.statusCode ?? 0
    request.destroy()
    socket.terminate()
  })
  const answer = await conversation(socket, ask.messages, signal)
  return status === 101 ? { ...answer, status } : { ...noAnswer, status }
}

async function overHttp2(ask: WebSocketAsk, signal: AbortSignal): Promise<Answer> {
  const [, authority = '', path = '/'] = /^ws:\/\/([^/]+)(\/.*)?$/.exec(ask.url) ?? []
  const session = http2.connect(`http://${authority}`)
  try {
    const [settings] = (await once(session, 'remoteSettings', { signal })) as [http2.Settings]
    if (settings.enableConnectProtocol !== true) return { ...noAnswer, error: 'no extended CONNECT' }
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': 'http',
      ':authority': authority,
      ':path': path,
      'sec-websocket-version': '13',
      ...ask.headers,
    })
    const [headers] = (await once(stream, 'response', { signal })) as [http2.IncomingHttpHeaders]
    const status = Number(headers[':status'])
    if (status !== 200) return { ...noAnswer, status }
    return { ...(await conversation(webSocketOver(stream, false), ask.messages, signal)), status }
  } finally {
    session.destroy()
  }
}

async function conversation(
  socket: WebSocket,
  messages: readonly string[],
  signal: AbortSignal,
): Promise<Answer> {
  const abort = () => socket.terminate()
  signal.addEventListener('abort', abort, { once: true })
  const heard: string[] = []
  const left = [...messages]
  socket.on('message', (message: Buffer) => {
    heard.push(message.toString())
    const next = left.shift()
    if (next === undefined) socket.close(1000, 'enough')
    else socket.send(next)
  })
  const failed: Error[] = []
  socket.on('error', (error) => failed.push(error))
  const code = await new Promise<number>((resolve) => socket.once('close', resolve))
  signal.removeEventListener('abort', abort)
  const [error] = failed
  return { ...noAnswer, messages: heard, body: String(code), ...(error ? { error: error.message } : {}) }
}
