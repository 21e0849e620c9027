/**
 * The coffee shop's programs, as a user might have written them: plain HTTP, no mesh library, one new connection per
 * request so that every request meets the mesh as it is at that moment.
 */
import { createServer, request } from 'node:http'
import { hostname } from 'node:os'

type Call = Readonly<{
  to: string
  path: string
  body?: string
  headers?: Readonly<Record<string, string>>
}>
/** What a caller has seen of one destination since it started. */
type Tally = { requests: number; failed: number; answeredOverIpv6: number; lastError?: string }

/** How long a request may take before it counts as failed. */
const requestTimeoutMs = 10_000
/** Requests of one caller that may be under way at once; at the limit a tick is skipped, never queued. */
const maxInFlight = 64

const tallies = new Map<string, Tally>()
/** When each request that is under way began, by destination. */
const waiting = new Map<Tally, Set<Readonly<{ since: number }>>>()
let inFlight = 0

const tallyOf = (name: string): Tally => {
  const known = tallies.get(name)
  if (known) return known
  const fresh: Tally = { requests: 0, failed: 0, answeredOverIpv6: 0 }
  tallies.set(name, fresh)
  waiting.set(fresh, new Set())
  return fresh
}

/** The tallies by destination, each with how many of its requests are under way and how long the oldest has waited. */
const told = () =>
  Object.fromEntries(
    [...tallies].map(([to, tally]) => {
      const underWay = waiting.get(tally) ?? new Set()
      const [oldest] = underWay
      const oldestMs = oldest ? Math.round(performance.now() - oldest.since) : 0
      return [to, { ...tally, underWay: underWay.size, oldestMs }]
    }),
  )

/** One request on a connection of its own; resolves with the body of a 200 and rejects for everything else. */
function call({ to, path, body, headers }: Call, family: 4 | 6): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`http://${to}${path}`, {
      agent: false,
      family,
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...headers, connection: 'close' },
      timeout: requestTimeoutMs,
    })
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${requestTimeoutMs} ms`)))
    outgoing.on('error', reject)
    outgoing.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('error', reject)
      response.on('end', () =>
        response.statusCode === 200 ? resolve(text) : reject(new Error(`status ${response.statusCode}`)),
      )
    })
    outgoing.end(body)
  })
}

/** Counts a call for `/stats`, under the name of its destination. */
export async function counted(next: Call, family: 4 | 6): Promise<string | undefined> {
  const tally = tallyOf(next.to.split('.')[0]?.split(':')[0] ?? next.to)
  tally.requests++
  const begun = { since: performance.now() }
  waiting.get(tally)?.add(begun)
  try {
    const body = await call(next, family)
    if (family === 6) tally.answeredOverIpv6++
    return body
  } catch (error) {
    tally.failed++
    tally.lastError = error instanceof Error ? error.message : String(error)
    return undefined
  } finally {
    waiting.get(tally)?.delete(begun)
  }
}

/** How often a caller prints its tallies, one JSON object per line. */
const reportMs = 500

/** Runs `once` about `perSecond` times a second for ever, alternating between IPv4 and IPv6, and prints the tallies. */
export function repeatedly(perSecond: number, once: (family: 4 | 6) => Promise<unknown>): void {
  let next = 0
  setInterval(() => {
    if (inFlight >= maxInFlight) return
    inFlight++
    void once(next++ % 2 === 0 ? 4 : 6).finally(() => inFlight--)
  }, 1000 / perSecond)
  setInterval(() => process.stdout.write(`${JSON.stringify(told())}\n`), reportMs)
}

/**
 * Serves `answers` on 8080 of every address, plus `/healthz` and `/stats` (the tallies by destination). An answer may be
 * a promise, but not a rejected one.
 */
export function serve(answers: (path: string, body: string) => unknown): void {
  const server = createServer((incoming, response) => {
    let body = ''
    incoming.setEncoding('utf8')
    incoming.on('data', (chunk: string) => {
      if (body.length < 65_536) body += chunk
    })
    const answered = async () => {
      const path = incoming.url ?? '/'
      const answer =
        path === '/healthz' ? { ok: true } : path === '/stats' ? told() : await answers(path, body)
      if (answer === undefined) response.writeHead(404).end()
      else {
        const from = incoming.socket.remoteAddress
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(
          path === '/stats'
            ? JSON.stringify(answer)
            : JSON.stringify({ pod: hostname(), from, ...Object(answer) }),
        )
      }
    }
    incoming.on('end', () => void answered())
  })
  server.listen(8080, '::')
  process.on('SIGTERM', () => {
    server.close(() => process.exit(0))
    server.closeIdleConnections()
    setTimeout(() => process.exit(0), 2_000).unref()
  })
}

/** A number from the environment; the default where it is absent or not a positive number. */
export const rate = (name: string, otherwise: number): number => {
  const value = Number(process.env[name] ?? otherwise)
  return Number.isFinite(value) && value > 0 ? value : otherwise
}
