import type { Test } from 'tap'
import { type Answer, type Ask } from './answer.ts'
import { converse } from './cluster.ts'

/** Somebody in a pod who asks what the test wants to know: a program that stays, so that a question costs no exec. */
export type Caller = (ask: Ask) => Promise<Answer>

type Waiting = Readonly<{ resolve: (answer: Answer) => void; reject: (error: Error) => void }>

export async function openCaller(t: Test, namespace: string, pod: string): Promise<Caller> {
  const waiting = new Map<number, Waiting>()
  let asked = 0
  let over: Error | undefined
  const input = await converse(
    namespace,
    pod,
    ['node', '/opt/lateen/test/e2e/tools/ask.ts'],
    (line) => {
      const { id, answer } = JSON.parse(line) as { id: number; answer: Answer }
      waiting.get(id)?.resolve(answer)
      waiting.delete(id)
    },
    (why) => {
      over ??= new Error(why)
      for (const { reject } of waiting.values()) reject(over)
      waiting.clear()
    },
  )
  t.teardown(() => input.end())
  return (ask) =>
    new Promise((resolve, reject) => {
      if (over) return reject(over)
      const id = asked++
      waiting.set(id, { resolve, reject })
      input.write(`${JSON.stringify({ id, ask })}\n`)
    })
}
