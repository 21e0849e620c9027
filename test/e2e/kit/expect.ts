import { type Answer, type Ask, echoOf, summary } from './answer.ts'
import type { Stage } from './stage.ts'

/**
 * A question and its answer in words, or how many percent of many get which answer, and what else there is to say.
 * Questions: `GET /path?x=y name=value`, `GET echo-v1:8080/path`, `consumer: GET …`, `GET2` (HTTP/2), `GRPC Echo`,
 * `TCP host:port`, `HEAR host:port` (who speaks first), `TLS host:port/name`, `WS /path`.
 * Answers: who answered (`v1`), a status (`404`), `302 location`, `grpc 12`, an error's code.
 */
export type Expected = readonly [question: string, answer: string | Shares, more?: More]
type Shares = Readonly<Record<string, number>>
type Headers = Readonly<Record<string, string | null>>
type More = Readonly<{
  /** What the app was sent, header by header; null for what it was not. `:host`, `:path`, `:version` too. */
  seen?: Headers
  /** What the client was sent. */
  told?: Headers
  body?: string
  /** Not sooner. */
  afterMs?: number
  /** Not later; for what would take much longer otherwise. */
  withinMs?: number
}>

/** As the conformance suite. */
const countedAsks = 500
const countedStreams = 200
const tolerancePercent = 5
/** Fewer asks, more luck. */
const streamTolerancePercent = 10

type Question = Readonly<{ from: 'client' | 'consumer'; ask: Ask }>

/** What is wrong with what is answered, if anything. */
export async function complaint(
  { callers, ns }: Stage,
  [question, answer, more]: Expected,
): Promise<string | undefined> {
  const { from, ask } = read(question, ns)
  if (typeof answer === 'object') return sharesComplaint(question, answer, ask, callers[from])
  const got = await callers[from](ask)
  const word = ask.kind === 'tcp' ? streamSummary(got) : summary(got)
  const wrong = word === answer ? (more ? moreComplaint(got, more) : undefined) : word
  return wrong === undefined ? undefined : `${question} → ${answer}, but ${wrong}`
}

async function sharesComplaint(
  question: string,
  shares: Shares,
  ask: Ask,
  caller: (ask: Ask) => Promise<Answer>,
): Promise<string | undefined> {
  if (ask.kind === 'websocket') throw new RangeError('not counted')
  const isStream = ask.kind === 'tcp'
  const count = isStream ? countedStreams : countedAsks
  const { tally } = await caller({ ...ask, count })
  const words: Record<string, number> = {}
  for (const [word, n] of Object.entries(tally)) {
    const key = isStream ? (word.split(' ')[0] ?? '') : word
    words[key] = (words[key] ?? 0) + (n * 100) / count
  }
  const tolerance = isStream ? streamTolerancePercent : tolerancePercent
  const isFar = Object.keys({ ...shares, ...words }).some(
    (word) =>
      Math.abs((words[word] ?? 0) - (shares[word] ?? 0)) > ((shares[word] ?? 0) % 100 === 0 ? 0 : tolerance),
  )
  return isFar ? `${question} → ${JSON.stringify(shares)}, but ${JSON.stringify(words)}` : undefined
}

const streamSummary = (got: Answer) =>
  got.error ?? (got.body === '' ? 'closed' : (echoOf(got)?.app ?? got.body.trim().split(' ')[0] ?? ''))

function moreComplaint(got: Answer, { seen, told, body, afterMs, withinMs }: More): string | undefined {
  const echo = echoOf(got)
  const saw = { ...echo?.headers, ':host': echo?.host, ':path': echo?.path, ':version': echo?.version }
  const wrong = headersComplaint(saw, seen) ?? headersComplaint({ ...got.headers, ...got.trailers }, told)
  if (wrong !== undefined) return wrong
  if (body !== undefined && got.body !== body) return `its body is ${JSON.stringify(got.body)}`
  if (afterMs !== undefined && got.ms < afterMs) return `it came after ${got.ms} ms`
  if (withinMs !== undefined && got.ms > withinMs) return `it took ${got.ms} ms`
  return undefined
}

/** Lines of one name are one list, whoever joined them. */
function headersComplaint(
  headers: Readonly<Record<string, string | undefined>>,
  wanted: Headers = {},
): string | undefined {
  const got = (name: string) => headers[name.toLowerCase()]?.replaceAll(', ', ',') ?? null
  const wrong = Object.entries(wanted).find(([name, value]) => got(name) !== value)
  return wrong && `${wrong[0]} is ${JSON.stringify(got(wrong[0]))} in ${JSON.stringify(headers)}`
}

const form = /^(?:(?<from>consumer): )?(?<verb>[A-Z]+2?) (?<where>\S+)(?<headers>.*)$/

function read(question: string, ns: string): Question {
  const { from = 'client', verb = '', where = '', headers: text = '' } = form.exec(question)?.groups ?? {}
  if (verb === '') throw new RangeError(question)
  const pairs = [...text.matchAll(/([^\s=]+)=("[^"]*"|\S*)/g)]
  const headers = Object.fromEntries(
    pairs.map(([, name = '', value = '']) => [name, value.replaceAll('"', '')]),
  )
  const home = from === 'consumer' ? `echo.${ns}` : 'echo'
  return { from: from as Question['from'], ask: asked(verb, where, headers, home) }
}

function asked(verb: string, where: string, headers: Readonly<Record<string, string>>, home: string): Ask {
  const at = where.startsWith('/') ? `${home}${where}` : where
  const [hostPort, rest] = split(at)
  const [host = '', port = ''] = hostPort.split(':')
  switch (verb) {
    case 'GRPC':
      return {
        kind: 'grpc',
        target: rest === '' ? `${home}:7070` : hostPort,
        method: `/echo.Echo/${rest === '' ? where : rest}`,
        headers,
      }
    case 'TCP':
      return { kind: 'tcp', host, port: Number(port), send: 'hello\n' }
    case 'HEAR':
      return { kind: 'tcp', host, port: Number(port) }
    case 'TLS':
      return {
        kind: 'tcp',
        host,
        port: Number(port),
        serverName: rest,
        send: `GET / HTTP/1.1\r\nhost: ${rest}\r\nconnection: close\r\n\r\n`,
      }
    case 'WS':
      return { kind: 'websocket', url: `ws://${at}`, headers, messages: ['one', 'two'] }
    default: {
      const isHttp2 = verb.endsWith('2')
      return {
        kind: 'http',
        url: `http://${at}`,
        method: isHttp2 ? verb.slice(0, -1) : verb,
        headers,
        version: isHttp2 ? 2 : 1,
      }
    }
  }
}

const split = (at: string): readonly [string, string] => {
  const slash = at.indexOf('/')
  return slash === -1 ? [at, ''] : [at.slice(0, slash), at.slice(slash + 1)]
}
