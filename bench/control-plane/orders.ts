import { type ChildProcess, fork } from 'node:child_process'
import { isRecord } from '#base'

/** Carries out one order of the parent process; what it resolves to is the answer. */
type Orders = Readonly<Record<string, (order: Readonly<Record<string, unknown>>) => unknown>>

/** In a child process: does what the parent says, until it is gone. */
export function obey(orders: Orders): void {
  process.on('disconnect', () => process.exit(0))
  process.on('message', (message: unknown) => {
    if (!isRecord(message)) return
    const { id } = message
    const carryOut = async () => orders[String(message['op'])]?.(message)
    carryOut().then(
      (answer) => process.send?.({ id, answer }),
      (error: unknown) => process.send?.({ id, error: String(error) }),
    )
  })
}

/** A child process that takes orders. Dispose ends it. */
export type Crew = AsyncDisposable &
  Readonly<{
    pid: number
    order: (op: string, parts?: Readonly<Record<string, unknown>>) => Promise<unknown>
  }>

/** Starts a program of this folder. */
export function crew(program: string): Crew {
  const child: ChildProcess = fork(new URL(program, import.meta.url), { serialization: 'advanced' })
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  let last = 0
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  void exited.then(() => {
    for (const { reject } of waiting.values()) reject(new Error(`${program} ended`))
  })
  child.on('message', (message: unknown) => {
    if (!isRecord(message)) return
    const asked = waiting.get(Number(message['id']))
    waiting.delete(Number(message['id']))
    const { error } = message
    if (typeof error === 'string') asked?.reject(new Error(`${program}: ${error}`))
    else asked?.resolve(message['answer'])
  })
  return {
    pid: child.pid ?? 0,
    order(op, parts = {}) {
      const asked = Promise.withResolvers<unknown>()
      waiting.set(++last, asked)
      child.send({ ...parts, op, id: last })
      return asked.promise
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}

/** Milliseconds of a clock that all processes of the machine share. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6
