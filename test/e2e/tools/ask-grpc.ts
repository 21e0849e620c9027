import { Client, credentials, Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js'
import { type Answer, type Ask, noAnswer, summary } from '../kit/answer.ts'
import { plainHeaders, toBytes, toText } from '../kit/grpc.ts'

type GrpcAsk = Extract<Ask, { kind: 'grpc' }>
/** Calls of one `count` that are under way at once. */
const parallel = 10

export async function askGrpc(ask: GrpcAsk, signal: AbortSignal): Promise<Answer> {
  const client = new Client(ask.target, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
  const abort = () => client.close()
  signal.addEventListener('abort', abort, { once: true })
  try {
    if (ask.messages) return await chat(client, ask)
    if (ask.count === undefined) return await unary(client, ask)
    const tally: Record<string, number> = {}
    let left = ask.count
    const some = async () => {
      while (left-- > 0) {
        const word = summary(await unary(client, ask))
        tally[word] = (tally[word] ?? 0) + 1
      }
    }
    await Promise.all(Array.from({ length: parallel }, some))
    return { ...noAnswer, tally }
  } finally {
    signal.removeEventListener('abort', abort)
    client.close()
  }
}

const metadataOf = ({ headers = {} }: GrpcAsk) => {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return metadata
}
const patienceMs = 10_000
const deadlineOf = ({ deadlineMs = patienceMs }: GrpcAsk) => ({ deadline: Date.now() + deadlineMs })
const ended = ({ code, details, metadata }: StatusObject): Answer['trailers'] => ({
  ...plainHeaders(metadata.getMap()),
  'grpc-status': String(code),
  'grpc-message': details,
})

const unary = (client: Client, ask: GrpcAsk) =>
  new Promise<Answer>((resolve) => {
    let answer = noAnswer
    const done = (_: ServiceError | null, body = '') => (answer = { ...answer, body })
    const call = client.makeUnaryRequest(
      ask.method,
      toBytes,
      toText,
      'hello',
      metadataOf(ask),
      deadlineOf(ask),
      done,
    )
    call.on('metadata', (headers) => (answer = { ...answer, headers: plainHeaders(headers.getMap()) }))
    // After the answer, so the answer is whole by then.
    call.on('status', (status) => setImmediate(() => resolve({ ...answer, trailers: ended(status) })))
  })

/** Sends the next message when the one before is answered: both directions are open at once. */
const chat = (client: Client, ask: GrpcAsk) =>
  new Promise<Answer>((resolve) => {
    const left = [...(ask.messages ?? [])]
    const messages: string[] = []
    const call = client.makeBidiStreamRequest(ask.method, toBytes, toText, metadataOf(ask), deadlineOf(ask))
    const next = () => {
      const message = left.shift()
      if (message === undefined) call.end()
      else call.write(message)
    }
    call.on('data', (message: string) => {
      messages.push(message)
      next()
    })
    call.on('error', () => undefined)
    call.on('status', (status) => resolve({ ...noAnswer, messages, trailers: ended(status) }))
    next()
  })
