import { MeshError, type SocketAddress } from '#base'
import { askTcp, askUdp, isLame, type OpenSocket, type Reply, upstreamUdpBytes } from './ask.ts'
import type { Query } from './message.ts'
import { limitOf, type Transport } from './reply.ts'
import type { Times } from './times.ts'

/** Questions that one question becomes, at most. */
export const maxAttempts = 3

export type ForwardOptions = Readonly<{
  servers: readonly SocketAddress[]
  transport: Transport
  open: OpenSocket
  signal: AbortSignal
  times: Pick<Times, 'deadlineMs' | 'nextAttemptMs'>
}>

type Attempt = Readonly<{
  server: SocketAddress
  transport: Transport
  ask(signal: AbortSignal): Promise<Reply>
}>

/**
 * Asks the servers, one after the other but with the earlier ones still listened to; the first real answer counts.
 * Throws when there is none; an answer that says only that a server has failed counts when no better one comes.
 */
export async function forward(query: Query, options: ForwardOptions): Promise<Reply> {
  const { signal, times } = options
  signal.throwIfAborted()
  const attempts = attemptsOf(query, options)
  if (attempts.length === 0) throw new MeshError('connect-failed', { message: 'no nameserver is known' })
  const stop = new AbortController()
  const timer = setTimeout(
    () => stop.abort(new MeshError('timeout', { message: 'no nameserver answered in time' })),
    times.deadlineMs,
  )
  const follow = () => stop.abort(signal.reason)
  signal.addEventListener('abort', follow, { once: true })
  try {
    return await firstAnswer(attempts, times.nextAttemptMs, stop.signal)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', follow)
    stop.abort()
  }
}

/** Who is asked, in which order, and how. A client that came over TCP wants it all, which UDP may not give. */
function attemptsOf(query: Query, { servers, transport, open }: ForwardOptions): readonly Attempt[] {
  const overTcp = (server: SocketAddress): Attempt => ({
    server,
    transport: 'tcp',
    ask: (signal) => askTcp(query, server, open, signal),
  })
  const overUdp = (server: SocketAddress): Attempt => ({
    server,
    transport: 'udp',
    ask: (signal) => askUdpThenTcp(query, server, open, signal),
  })
  const [first] = servers
  if (!first) return []
  if (transport === 'tcp') return [...servers.slice(0, maxAttempts - 1).map(overTcp), overUdp(first)]
  return Array.from({ length: maxAttempts }, (_, n) => overUdp(servers[n % servers.length] ?? first))
}

/**
 * TCP where UDP is not to be trusted, or where less was offered than the client takes. Any other cut answer is the
 * client's own to ask again over TCP.
 */
async function askUdpThenTcp(
  query: Query,
  server: SocketAddress,
  open: OpenSocket,
  signal: AbortSignal,
): Promise<Reply> {
  const reply = await askUdp(query, server, open, signal)
  if (reply === 'suspect') return askTcp(query, server, open, signal)
  if (!reply.truncated || limitOf(query, 'udp') <= upstreamUdpBytes) return reply
  return askTcp(query, server, open, signal).catch(() => reply)
}

function firstAnswer(attempts: readonly Attempt[], everyMs: number, signal: AbortSignal): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  let waiting = attempts
  let open = 0
  let lame: Reply | undefined
  let failure: unknown
  let timer: NodeJS.Timeout | undefined
  const end = () => {
    waiting = []
    clearTimeout(timer)
    if (lame) resolve(lame)
    else reject(failure ?? signal.reason)
  }
  const next = () => {
    clearTimeout(timer)
    const [attempt, ...more] = waiting
    waiting = more
    if (attempt) start(attempt)
    if (waiting.length > 0) timer = setTimeout(next, everyMs)
  }
  const start = (attempt: Attempt) => {
    open++
    void attempt
      .ask(signal)
      .then(
        (reply) => {
          if (isLame(reply)) return void (lame ??= reply)
          waiting = []
          resolve(reply)
        },
        (error: unknown) => void (failure ??= error),
      )
      .then(() => {
        open--
        // It has said what it has to say; another one is asked at once.
        waiting = waiting.filter((other) => !isSame(other, attempt))
        if (waiting.length > 0) next()
        else if (open === 0) end()
      })
  }
  signal.addEventListener('abort', end, { once: true })
  next()
  return promise
}

const isSame = (a: Attempt, b: Attempt) => a.server === b.server && a.transport === b.transport
