import { once } from 'node:events'
import * as http2 from 'node:http2'
import { connect, type Socket } from 'node:net'

/** What a client got; `end` says how its connection was afterwards. */
export type Got = Readonly<{
  status: number
  interim: readonly string[]
  headers: Readonly<Record<string, string>>
  body: string
  trailers: string
  end: 'open' | 'closed'
}>

const limitMs = 8_000

/** Sends bytes as they are and reads one answer (of the methods that have a body) or the end. */
export async function raw(
  port: number,
  request: string | Buffer,
  then?: (socket: Socket) => void,
  also?: (socket: Socket) => unknown,
): Promise<Got> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(request)
  also?.(socket)
  let bytes = Buffer.alloc(0)
  let ended = false
  try {
    return await new Promise<Got>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no whole answer: ${bytes.toString('latin1')}`)),
        limitMs,
      )
      const look = () => {
        const got = parse(bytes, ended, request.toString('latin1').startsWith('HEAD '))
        if (got === undefined) {
          if (bytes.length > 0) then?.(socket)
          return
        }
        clearTimeout(timer)
        resolve(got)
      }
      socket.on('data', (part: Buffer) => {
        bytes = Buffer.concat([bytes, part])
        look()
      })
      const over = () => {
        ended = true
        look()
      }
      socket.on('end', over)
      socket.on('close', over)
    })
  } finally {
    socket.destroy()
  }
}

const headOf = (text: string) => {
  const [line = '', ...fields] = text.split('\r\n')
  const headers: Record<string, string> = {}
  for (const field of fields) {
    const at = field.indexOf(':')
    const name = field.slice(0, at).toLowerCase()
    const value = field.slice(at + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]} & ${value}`
  }
  return { status: Number(line.split(' ')[1]), headers }
}

function parse(bytes: Buffer, ended: boolean, isHead: boolean): Got | undefined {
  let text = bytes.toString('latin1')
  const interim: string[] = []
  const none: Got = { status: 0, interim, headers: {}, body: text, trailers: '', end: 'closed' }
  for (;;) {
    const at = text.indexOf('\r\n\r\n')
    if (at < 0) return ended ? none : undefined
    const { status, headers } = headOf(text.slice(0, at))
    const rest = text.slice(at + 4)
    if (status >= 100 && status < 200 && status !== 101) {
      interim.push(`${status}${headers['link'] === undefined ? '' : ` ${headers['link']}`}`)
      text = rest
      continue
    }
    const got = { status, interim, headers, trailers: '', end: ended ? 'closed' : 'open' } as const
    if (isHead || status === 204 || status === 304) return { ...got, body: rest }
    const length = headers['content-length']
    if (length !== undefined && rest.length >= Number(length)) return { ...got, body: rest }
    if (headers['transfer-encoding'] === 'chunked') {
      const body = unchunk(rest)
      if (body !== undefined) return { ...got, ...body }
    } else if (length === undefined && ended) return { ...got, body: rest }
    return ended ? { ...got, body: `broken off: ${rest}` } : undefined
  }
}

function unchunk(text: string): Readonly<{ body: string; trailers: string }> | undefined {
  let body = ''
  for (let at = 0; ; ) {
    const line = text.indexOf('\r\n', at)
    if (line < 0) return undefined
    const size = Number.parseInt(text.slice(at, line), 16)
    if (size === 0) {
      const end = text.indexOf('\r\n\r\n', line - 2)
      return end < 0 ? undefined : { body, trailers: text.slice(line + 2, end).replaceAll('\r\n', '; ') }
    }
    if (text.length < line + 2 + size + 2) return undefined
    body += text.slice(line + 2, line + 2 + size)
    at = line + 2 + size + 2
  }
}

type H2Request = Readonly<{
  headers: http2.OutgoingHttpHeaders
  body?: string | Buffer
  trailers?: http2.OutgoingHttpHeaders
}>

/** One request over HTTP/2. A reset is status 0 with the code as the body. */
export async function h2(port: number, { headers, body, trailers }: H2Request): Promise<Got> {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  session.on('error', () => undefined)
  try {
    const stream = session.request(headers, {
      endStream: body === undefined && trailers === undefined,
      waitForTrailers: trailers !== undefined,
    })
    stream.setTimeout(limitMs, () => stream.close())
    if (trailers) stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    const interim: string[] = []
    let head: http2.IncomingHttpHeaders | undefined
    let tail: http2.IncomingHttpHeaders = {}
    stream.on('headers', (early: http2.IncomingHttpHeaders) => interim.push(String(early[':status'])))
    stream.on('response', (one) => (head = one))
    stream.on('trailers', (one: http2.IncomingHttpHeaders) => (tail = one))
    if (body !== undefined || trailers !== undefined) stream.end(body)
    let text = ''
    stream.on('data', (part: Buffer) => (text += part.toString('latin1')))
    let failure: string | undefined
    stream.on('error', (error: NodeJS.ErrnoException) => (failure = error.message))
    await new Promise<void>((done) => stream.once('close', () => done()))
    const lines = (fields: http2.IncomingHttpHeaders | undefined) =>
      Object.fromEntries(
        Object.entries(fields ?? {})
          .filter(([name]) => name !== ':status')
          .map(([name, value]) => [name, Array.isArray(value) ? value.join(' & ') : `${value}`]),
      )
    return {
      status: Number(head?.[':status'] ?? 0),
      interim,
      headers: lines(head),
      body: failure === undefined ? text : `broken off: ${text} (${failure})`,
      trailers: Object.entries(lines(tail))
        .map(([name, value]) => `${name}: ${value}`)
        .join('; '),
      end: 'open',
    }
  } finally {
    session.destroy()
  }
}
