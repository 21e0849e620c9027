/**
 * Calls `TARGET` so many times a second, whatever becomes of the calls (an open loop), in all the ways in which clients
 * do, and prints what came of them as one JSON object per line. Nothing is tried twice, so that whatever is lost shows,
 * but for requests of HTTP/2 that were refused unseen, which every library but Node's tries again (RFC 9113 §8.7): Node
 * refuses those itself that it has not written yet when a GOAWAY comes.
 */
import http from 'node:http'
import http2 from 'node:http2'
import { Client, credentials } from '@grpc/grpc-js'

const target = process.env['TARGET'] ?? 'origin'
const perSecond = Number(process.env['RATE'] ?? 500)
/** A call that takes longer is lost. */
const timeoutMs = 20_000
/** Calls under way: beyond it the machine is too slow for the rate, and a call is not made; that is counted. */
const maxUnderWay = 4_000
const tickMs = 10
const reportMs = 500
/** Words that are kept about what was lost. */
const maxReasons = 20

/** Tries of one call that is refused unseen. */
const maxTries = 3

const reasons: Record<string, number> = {}
const tally = { made: 0, ok: 0, again: 0, failed: 0, skipped: 0, underWay: 0, reasons }

type Way = Readonly<{ name: string; share: number; call: (signal: AbortSignal) => Promise<void> }>

const kept = new http.Agent({ keepAlive: true })
const upload = Buffer.alloc(1_024, 'x')

/** One request of HTTP/1.1; anything but 200 with a whole body is a failure. */
const ask = (agent: http.Agent | false, signal: AbortSignal, body?: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    const request = http.request({
      host: target,
      port: 8080,
      path: '/x',
      agent,
      signal,
      method: body ? 'POST' : 'GET',
      headers: body ? { 'content-length': body.length } : {},
    })
    request.on('error', reject)
    request.on('response', (response) => {
      let text = ''
      response.on('data', (part: Buffer) => (text += part.toString()))
      response.on('error', reject)
      response.on('end', () => {
        const whole = response.statusCode === 200 && text.includes(`"bytes":${body?.length ?? 0}`)
        if (whole) resolve()
        else reject(new Error(`${response.statusCode} ${text.slice(0, 120)}`))
      })
    })
    request.end(body)
  })

let session: http2.ClientHttp2Session | undefined

/** One connection for all, as clients of HTTP/2 have it; another one once the server says that it leaves. */
function sessionOfNow(): http2.ClientHttp2Session {
  if (session && !session.closed && !session.destroyed) return session
  const made = http2.connect(`http://${target}:8081`)
  const over = () => {
    if (session === made) session = undefined
  }
  made.on('goaway', over)
  made.on('close', over)
  made.on('error', over)
  return (session = made)
}

const stream = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const one = sessionOfNow().request({ ':path': '/x' }, { signal })
    let status = 0
    one.on('response', (headers) => (status = Number(headers[':status'])))
    one.on('error', reject)
    one.on('close', () => reject(new Error('HTTP/2 stream closed')))
    one.resume().on('end', () => (status === 200 ? resolve() : reject(new Error(`HTTP/2 ${status}`))))
  })

const grpc = new Client(`${target}:9090`, credentials.createInsecure())
const asIs = (bytes: Buffer) => bytes
const unary = (): Promise<void> =>
  new Promise((resolve, reject) => {
    const deadline = Date.now() + timeoutMs
    grpc.makeUnaryRequest('/e2e.Origin/Echo', asIs, asIs, upload, { deadline }, (error, answer) => {
      if (error) reject(new Error(`gRPC ${error.code} ${error.details}`))
      else if (answer?.equals(upload) === true) resolve()
      else reject(new Error('gRPC: another answer'))
    })
  })

const ways: readonly Way[] = [
  { name: 'kept', share: 8, call: (signal) => ask(kept, signal) },
  { name: 'post', share: 4, call: (signal) => ask(kept, signal, upload) },
  { name: 'fresh', share: 2, call: (signal) => ask(false, signal) },
  { name: 'http2', share: 3, call: stream },
  { name: 'grpc', share: 3, call: unary },
]
const turns = ways.flatMap((way) => Array.from({ length: way.share }, () => way))

async function tried(way: Way, times: number): Promise<void> {
  try {
    await way.call(AbortSignal.timeout(timeoutMs))
  } catch (error) {
    const refused = error instanceof Error && error.message.includes('NGHTTP2_REFUSED_STREAM')
    if (!refused || times >= maxTries) throw error
    tally.again++
    await tried(way, times + 1)
  }
}

async function callOnce(way: Way): Promise<void> {
  tally.made++
  tally.underWay++
  const begun = new Date().toISOString().slice(11, 23)
  try {
    await tried(way, 1)
    tally.ok++
  } catch (error) {
    tally.failed++
    const why = `${way.name}: ${error instanceof Error ? error.message : String(error)}`
    process.stderr.write(`${begun} to ${new Date().toISOString().slice(11, 23)} ${why}\n`)
    if (why in reasons || Object.keys(reasons).length < maxReasons) reasons[why] = (reasons[why] ?? 0) + 1
  } finally {
    tally.underWay--
  }
}

let next = 0
let owed = 0
let last = performance.now()
setInterval(() => {
  const now = performance.now()
  owed += ((now - last) * perSecond) / 1_000
  last = now
  for (; owed >= 1; owed--) {
    const way = turns[(next++ * 7) % turns.length]
    if (tally.underWay >= maxUnderWay) tally.skipped++
    else if (way) void callOnce(way)
  }
}, tickMs)
setInterval(() => process.stdout.write(`${JSON.stringify(tally)}\n`), reportMs)
