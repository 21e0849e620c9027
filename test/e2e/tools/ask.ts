/**
 * A client in a pod, for as long as its standard input is open: reads `{"id", "ask"}` lines and prints `{"id", "answer"}`
 * lines, as many at once as it is asked for.
 */
import { createInterface } from 'node:readline'
import { type Answer, type Ask, noAnswer } from '../kit/answer.ts'
import { askGrpc } from './ask-grpc.ts'
import { askHttp } from './ask-http.ts'
import { askTcp, askWebSocket } from './ask-stream.ts'

/** Longer than any test waits on purpose. */
const patienceMs = 20_000

function carryOut(ask: Ask, signal: AbortSignal): Promise<Answer> {
  switch (ask.kind) {
    case 'http':
      return askHttp(ask, signal)
    case 'grpc':
      return askGrpc(ask, signal)
    case 'tcp':
      return askTcp(ask, signal)
    case 'websocket':
      return askWebSocket(ask, signal)
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, ask } = JSON.parse(line) as { id: number; ask: Ask }
  const began = performance.now()
  void carryOut(ask, AbortSignal.timeout(patienceMs))
    .catch((error: NodeJS.ErrnoException) => ({ ...noAnswer, error: error.code ?? error.message }))
    .then((answer) => {
      const ms = Math.round(performance.now() - began)
      process.stdout.write(`${JSON.stringify({ id, answer: { ...answer, ms } })}\n`)
    })
}
process.exit(0)
