/** `npm run bench [-- l4|ca [--repetitions N] [--seconds N]]`: measures against peers in the same run. No tests. */
import { parseArgs } from 'node:util'
import { describeError } from '#telemetry'
import { benchCa } from './ca/bench.ts'
import { benchL4 } from './l4/bench.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repetitions: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
  },
})
const [which = 'l4'] = positionals
const benches: Record<string, typeof benchL4> = { l4: benchL4, ca: benchCa }
try {
  const bench = benches[which]
  if (!bench) throw new RangeError(`no bench named ${which}; there is: ${Object.keys(benches).join(', ')}`)
  await bench({ repetitions: Number(values.repetitions), seconds: Number(values.seconds) })
} catch (error) {
  process.stderr.write(`bench: ${describeError(error)}\n`)
  process.exitCode = 1
}
