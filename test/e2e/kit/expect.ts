import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, type Ask, echoOf, summary } from './answer.ts'
import type { Caller } from './caller.ts'
import type { Stage } from './stage.ts'

/**
 * A question and its answer in words, or how many percent of many get which answer, and what else there is to say.
 * Questions: `GET /path?x=y name=value`, `GET echo-v1:8080/path`, `consumer: GET …`, `GET2` (HTTP/2), `GRPC Echo`,
 * `TCP host:port`, `HEAR host:port` (who speaks first), `TLS host:port/name`, `WS /path`.
 * `$FRESH` in it is another word each time.
 * Answers: who answered (`v1`), a status (`404`), `302 location`, `grpc 12`, an error's code; `one of v1 v2`, or
 * `always one of v1 v2`: any, but each time the same. A list: each of them now and then, and nothing else.
 */
export type Expected = readonly [question: string, answer: string | readonly string[] | Shares, more?: More]
type Shares = Readonly<Record<string, number>>
type Headers = Readonly<Record<string, string | null>>
type More = Readonly<{
  /** What the app was sent, header by header; null for what it was not. `:host`, `:path`, `:version` too. */
  seen?: Headers
  /** What the client was sent. */
  told?: Headers
  body?: string
  /** How many copies of the questions (which need an `x-echo-key`) each address has got. */
  mirrored?: Readonly<Record<string, number>>
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
  const fresh = Math.random().toString(36).slice(2)
  const { from, ask } = read(question.replaceAll('$FRESH', fresh), ns)
  const caller = callers[from]
  const wrong = isCounted(answer)
    ? await countedComplaint(answer, ask, caller)
    : await oneComplaint(answer, ask, caller, more)
  const all =
    wrong ?? (more?.mirrored && (await mirroredComplaint(more.mirrored, fresh, isCounted(answer), caller)))
  return all === undefined ? undefined : `${question} → ${JSON.stringify(answer)}, but ${all}`
}

/** Whether an answer is about many. */
export const isCounted = (answer: Expected[1]): boolean =>
  typeof answer !== 'string' || answer.startsWith(always)
const always = 'always '
const oneOf = 'one of '
const wordsOf = (answer: Expected[1]): readonly string[] => {
  if (typeof answer !== 'string') return []
  return answer.startsWith(oneOf) ? answer.slice(oneOf.length).split(' ') : [answer]
}

async function oneComplaint(
  answer: Expected[1],
  ask: Ask,
  caller: Caller,
  more: More = {},
): Promise<string | undefined> {
  const got = await caller(ask)
  const word = wordOf(ask, got)
  return wordsOf(answer).includes(word) ? moreComplaint(got, more) : word
}

async function countedComplaint(answer: Expected[1], ask: Ask, caller: Caller): Promise<string | undefined> {
  if (ask.kind === 'websocket') throw new RangeError('not counted')
  const isStream = ask.kind === 'tcp'
  const count = isStream ? countedStreams : countedAsks
  const { tally, error } = await caller({ ...ask, count })
  if (error !== undefined) return error
  const percents: Record<string, number> = {}
  for (const [word, n] of Object.entries(tally)) {
    const key = isStream ? (word.split(' ')[0] ?? '') : word
    percents[key] = (percents[key] ?? 0) + (n * 100) / count
  }
  const tolerance = isStream ? streamTolerancePercent : tolerancePercent
  return isAsWanted(answer, percents, tolerance) ? undefined : JSON.stringify(percents)
}

function isAsWanted(
  answer: Expected[1],
  percents: Readonly<Record<string, number>>,
  tolerance: number,
): boolean {
  const words = Object.keys(percents)
  if (typeof answer === 'string')
    return words.length === 1 && words.every((word) => wordsOf(answer.slice(always.length)).includes(word))
  if (isList(answer)) return words.length === answer.length && answer.every((word) => words.includes(word))
  return Object.keys({ ...answer, ...percents }).every((word) => {
    const wanted = answer[word] ?? 0
    return Math.abs((percents[word] ?? 0) - wanted) <= (wanted % 100 === 0 ? 0 : tolerance)
  })
}

const isList = (answer: Expected[1]): answer is readonly string[] => Array.isArray(answer)

/** Copies are on their way after the answer. */
const mirrorPatienceMs = 2_000

async function mirroredComplaint(
  wanted: Readonly<Record<string, number>>,
  key: string,
  counted: boolean,
  caller: Caller,
): Promise<string | undefined> {
  const tolerance = counted ? (countedAsks * tolerancePercent) / 100 : 0
  const end = Date.now() + mirrorPatienceMs
  for (;;) {
    const wrong: string[] = []
    for (const [address, n] of Object.entries(wanted)) {
      const { body } = await caller({ kind: 'http', url: `http://${address}:8080/-/seen/${key}` })
      const copies = JSON.parse(body) as readonly { host: string }[]
      const near = n === 0 ? copies.length === 0 : Math.abs(copies.length - n) <= tolerance
      if (!near) wrong.push(`${copies.length} copies at ${address}, not ${n}`)
      const odd = copies.find(({ host }) => !/-shadow(:\d+)?$/.test(host))
      if (odd) wrong.push(`a copy for ${odd.host}`)
    }
    if (wrong.length === 0) return undefined
    if (Date.now() > end) return wrong.join()
    await delay(50)
  }
}

function wordOf(ask: Ask, got: Answer): string {
  if (ask.kind === 'tcp') return streamSummary(got)
  if (ask.kind !== 'websocket') return summary(got)
  const [hello = '', ...echoed] = got.messages
  return echoed.join() === ask.messages.join() ? (echoOf({ body: hello })?.app ?? hello) : summary(got)
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
  const wrong = Object.entries(wanted).find(([name, value]) =>
    value === '$ANY' ? got(name) === null : got(name) !== value,
  )
  return wrong && `${wrong[0]} is ${JSON.stringify(got(wrong[0]))} in ${JSON.stringify(headers)}`
}

const form = /^(?:(?<from>consumer): )?(?<verb>[A-Z]+2?) (?<where>\S+)(?<headers>.*)$/

function read(question: string, ns: string): Question {
  const { from = 'client', verb = '', where = '', headers: text = '' } = form.exec(question)?.groups ?? {}
  if (verb === '') throw new RangeError(question)
  const pairs = [...text.matchAll(/([^\s=]+)=("[^"]*"|\S*)/g)]
  const headers = Object.fromEntries(
    pairs.map(([, name = '', value = '']) => [name, value.replace(/^"(.*)"$/, '$1')]),
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
