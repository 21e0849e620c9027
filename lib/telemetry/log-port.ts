import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { isRecord } from '#base'
import { lineSink, type LineSink } from './line-sink.ts'

/** Characters that a thread may have under way to the main thread; a main thread that is held up must not grow. */
const maxUnderWayChars = 1 << 20

/**
 * The sink of a worker thread: its lines travel to the main thread, a batch per turn of the loop, and only the main
 * thread writes. A blocked or failing stdout so never touches a worker, and lines of two threads never mix.
 */
export function portSink(port: MessagePort, setFilter: (filter: string) => void): LineSink {
  let underWay = 0
  let lostBefore = 0
  const answers: (() => void)[] = []
  port.on('message', (message: unknown) => {
    if (!isRecord(message)) return
    if (typeof message['filter'] === 'string') setFilter(message['filter'])
    if (typeof message['taken'] !== 'number') return
    underWay -= message['taken']
    answers.shift()?.()
  })
  port.unref() // a log keeps no thread alive
  const sink = lineSink({
    put: (lines, done) => {
      underWay += lines.length
      const lost = sink.dropped() - lostBefore
      lostBefore += lost
      answers.push(() => done(0))
      port.postMessage({ lines, lost })
    },
    waiting: () => underWay,
    maxChars: maxUnderWayChars,
  })
  return sink
}

/** The main thread's end of a worker's log. `filter` is what the worker goes by from now on. */
export function adoptPort(sink: LineSink, filter: string) {
  const { port1, port2 } = new MessageChannel()
  port1.on('message', (message: unknown) => {
    if (!isRecord(message)) return
    const { lines, lost } = message
    if (typeof lines !== 'string' || typeof lost !== 'number') return
    if (lost > 0) sink.lost(lost)
    sink.write(lines, lines.split('\n').length - 1)
    port1.postMessage({ taken: lines.length })
  })
  port1.unref()
  port1.postMessage({ filter })
  return { theirs: port2, ours: port1 }
}
