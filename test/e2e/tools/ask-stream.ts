import { once } from 'node:events'
import { connect } from 'node:net'
import tls from 'node:tls'
import { WebSocket } from 'ws'
import { type Answer, type Ask, noAnswer } from '../kit/answer.ts'

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
  const socket = new WebSocket(ask.url, { headers: { ...ask.headers }, handshakeTimeout: 10_000 })
  const abort = () => socket.terminate()
  signal.addEventListener('abort', abort, { once: true })
  const messages: string[] = []
  const left = [...ask.messages]
  let status = 101
  socket.on('unexpected-response', (request, response) => {
    status = response.statusCode ?? 0
    request.destroy()
    socket.terminate()
  })
  socket.on('message', (message: Buffer) => {
    messages.push(message.toString())
    const next = left.shift()
    if (next === undefined) socket.close(1000, 'enough')
    else socket.send(next)
  })
  const failed: Error[] = []
  socket.on('error', (error) => failed.push(error))
  const code = await new Promise<number>((resolve) => socket.once('close', resolve))
  signal.removeEventListener('abort', abort)
  if (status === 101 && failed[0]) throw failed[0]
  return { ...noAnswer, status, messages, body: String(code) }
}
