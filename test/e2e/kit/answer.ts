/** What the end-to-end tests ask of the program in a client's pod, and what it answers: one JSON object per line, both ways. */
type HttpAsk = Readonly<{
  kind: 'http'
  url: string
  method?: string
  headers?: Readonly<Record<string, string>>
  /** Sent as it is; a number is that many bytes of `patternBlock`. */
  body?: string | number
  version?: 1 | 2
  /** How many times, on connections that are kept; only `tally` is answered then. */
  count?: number
  parallel?: number
  /** Waits for 100 before the body. */
  expectContinue?: boolean
  /** Bytes of the answer that are read per second; as fast as they come where absent. */
  readBytesPerSecond?: number
}>
type GrpcAsk = Readonly<{
  kind: 'grpc'
  target: string
  method: string
  headers?: Readonly<Record<string, string>>
  messages?: readonly string[]
  deadlineMs?: number
  count?: number
}>
type TcpAsk = Readonly<{
  kind: 'tcp'
  host: string
  port: number
  /** Nothing is sent before the server has spoken where absent. */
  send?: string
  /** TLS with this name; whom the server proves to be is told, not judged. */
  serverName?: string
  count?: number
}>
type WebSocketAsk = Readonly<{
  kind: 'websocket'
  /** By Upgrade, or by extended CONNECT. */
  version?: 1 | 2
  url: string
  headers?: Readonly<Record<string, string>>
  messages: readonly string[]
}>
export type Ask = HttpAsk | GrpcAsk | TcpAsk | WebSocketAsk

export type Answer = Readonly<{
  /** Of HTTP, 0 where there was none. */
  status: number
  headers: Readonly<Record<string, string>>
  /** What was heard; of a `count` nothing. */
  body: string
  /** Of the body, also where it is not told because it was big. */
  bytes: number
  sha256: string
  trailers: Readonly<Record<string, string>>
  /** Interim answers, each with what it said. */
  interim: readonly Readonly<{ status: number; headers: Readonly<Record<string, string>> }>[]
  messages: readonly string[]
  error?: string
  /** How often each `summary` came. */
  tally: Readonly<Record<string, number>>
  ms: number
}>

export const noAnswer: Answer = {
  status: 0,
  headers: {},
  body: '',
  bytes: 0,
  sha256: '',
  trailers: {},
  interim: [],
  messages: [],
  tally: {},
  ms: 0,
}

/** What an echo server says of a request. */
type Echo = Readonly<{
  app: string
  pod: string
  method: string
  path: string
  host: string
  version: string
  headers: Readonly<Record<string, string>>
  from: string
  serverName?: string
  bytes?: number
  sha256?: string
}>

export function echoOf({ body }: Pick<Answer, 'body'>): Echo | undefined {
  if (!body.startsWith('{')) return undefined
  try {
    const parsed = JSON.parse(body) as Echo
    return typeof parsed.app === 'string' ? parsed : undefined
  } catch {
    return undefined
  }
}

/** An answer in a word: who answered, or the status and where to, or what went wrong. */
export function summary(answer: Answer): string {
  if (answer.error !== undefined) return answer.error
  const { status, headers, trailers } = answer
  const app = echoOf(answer)?.app
  const grpc = trailers['grpc-status']
  if (grpc !== undefined && grpc !== '0') return `grpc ${grpc}`
  if (app !== undefined) return status === 200 || status === 0 ? app : `${status} ${app}`
  return headers['location'] === undefined ? String(status) : `${status} ${headers['location']}`
}

/** Piece `index` of a body that both sides can make: 64 KiB, no two alike. */
function patternBlock(index: number, bytes: number): Buffer {
  const block = Buffer.allocUnsafe(Math.min(bytes, patternBlockBytes))
  block.fill(`${index}:lateen;`)
  return block
}
const patternBlockBytes = 65_536

/** The blocks of a body of `bytes`. */
export function* pattern(bytes: number): Generator<Buffer> {
  for (let at = 0; at < bytes; at += patternBlockBytes) yield patternBlock(at / patternBlockBytes, bytes - at)
}
