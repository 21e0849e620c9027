/**
 * `npm run bench [-- l4|l7|http|ca|control-plane [--repetitions N] [--seconds N]]`: measures against peers in the same run. No tests.
 * `control-plane` also takes `--pods N --services N --clients N --only row,row` and `--huge`, `l7` takes `--only row,row`.
 */
import { parseArgs } from 'node:util'
import { describeError } from '#telemetry'
import { benchCa } from './ca/bench.ts'
import { benchControlPlane } from './control-plane/bench.ts'
import { benchHuge } from './control-plane/huge.ts'
import { benchHttp } from './http/bench.ts'
import { benchL4 } from './l4/bench.ts'
import { benchL7 } from './l7/bench.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repetitions: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    pods: { type: 'string', default: '10000' },
    services: { type: 'string', default: '1000' },
    clients: { type: 'string', default: '100' },
    only: { type: 'string', default: '' },
    huge: { type: 'boolean', default: false },
  },
})
const [which = 'l4'] = positionals
const common = { repetitions: Number(values.repetitions), seconds: Number(values.seconds) }
const only = values.only.split(',').filter((row) => row !== '')
const mesh = {
  repetitions: common.repetitions,
  pods: Number(values.pods),
  services: Number(values.services),
  clients: Number(values.clients),
  only,
}
const benches: Readonly<Record<string, () => Promise<void>>> = {
  l4: () => benchL4(common),
  l7: () => benchL7({ ...common, only }),
  http: () => benchHttp(common),
  ca: () => benchCa(common),
  'control-plane': () => (values.huge ? benchHuge() : benchControlPlane(mesh)),
}
try {
  const bench = benches[which]
  if (!bench) throw new RangeError(`no bench named ${which}; there is: ${Object.keys(benches).join(', ')}`)
  await bench()
} catch (error) {
  process.stderr.write(`bench: ${describeError(error)}\n`)
  process.exitCode = 1
}
