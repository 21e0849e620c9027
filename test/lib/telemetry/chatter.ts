import { startLogging } from '#telemetry'

/**
 * A process that logs on command over IPC: `{ lines: n }` logs n lines over several turns of the loop and answers with
 * what was dropped and how long the loop was held at most.
 */
const logs = startLogging({ format: 'json' })
const log = logs.root('chatter')
const text = 'x'.repeat(900)
const linesPerTurn = 50
let number = 0

async function chatter(lines: number) {
  let longestTurnMs = 0
  for (let left = lines; left > 0; left -= linesPerTurn) {
    const started = performance.now()
    for (let n = Math.min(left, linesPerTurn); n > 0; n--) log.info('line', { number: number++, text })
    await new Promise((resolve) => setImmediate(resolve))
    longestTurnMs = Math.max(longestTurnMs, performance.now() - started)
  }
  return longestTurnMs
}

async function obey({ lines, flush }: { lines: number; flush?: boolean }) {
  const longestTurnMs = await chatter(lines)
  if (flush) await logs.flush()
  await new Promise((resolve) => setImmediate(resolve))
  process.send?.({ logged: number, dropped: logs.dropped(), longestTurnMs, rss: process.memoryUsage().rss })
}
process.on('message', (command: { lines: number; flush?: boolean }) => void obey(command))
process.on('disconnect', () => process.exit(0))
process.send?.('up')
