import { spawnSync } from 'node:child_process'
import t from 'tap'
import { decideCollection, type Look, type Quiet } from '../../../lib/base/collect-when-quiet.ts'

const mib = 1 << 20
const busy = (heldMib: number): Look => ({ utilization: 0.5, heldBytes: heldMib * mib })
const still = (heldMib: number): Look => ({ utilization: 0.01, heldBytes: heldMib * mib })

const cases: readonly (readonly [
  title: string,
  keptMib: number,
  looks: readonly Look[],
  collections: number,
])[] = [
  ['a burst that is over is collected once', 0, [busy(300), still(300), still(300), still(300)], 1],
  ['a process that works is left alone', 0, Array.from({ length: 20 }, () => busy(900)), 0],
  ['a pause within a burst is not its end', 0, [busy(300), still(300), still(300), busy(300), still(300)], 0],
  ['what is alive is not collected again and again', 300, Array.from({ length: 20 }, () => still(305)), 0],
  [
    'less than a tenth of what is alive is not worth a pause',
    600,
    Array.from({ length: 9 }, () => still(650)),
    0,
  ],
  ['more than a tenth of it is', 600, [still(670), still(670), still(670)], 1],
  ['a small process is not worth one', 0, Array.from({ length: 9 }, () => still(20)), 0],
]

t.test('when a process collects', async (t) => {
  for (const [title, keptMib, looks, collections] of cases) {
    let quiet: Quiet = { looks: 0, keptBytes: keptMib * mib }
    let seen = 0
    for (const look of looks) {
      const { collect, ...next } = decideCollection(look, quiet)
      quiet = collect ? { looks: 0, keptBytes: look.heldBytes } : next
      if (collect) seen++
    }
    t.equal(seen, collections, title)
  }
})

for (const how of ['once', 'thoroughly'] as const)
  t.test(`a process that has fallen quiet gives back what it no longer needs, ${how}`, async (t) => {
    const program = `
    import { collectWhenQuiet } from '#base'
    const stop = new AbortController()
    collectWhenQuiet(stop.signal, '${how}')
    let garbage = Array.from({ length: 64 }, () => Buffer.alloc(1 << 20, 1))
    garbage = undefined
    const deadline = Date.now() + 25_000
    const timer = setInterval(() => {
      const { arrayBuffers } = process.memoryUsage()
      if (arrayBuffers > 16 << 20 && Date.now() < deadline) return
      clearInterval(timer)
      stop.abort()
      console.log(arrayBuffers >> 20)
    }, 100)
  `
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '--no-memory-reducer', '--eval', program],
      { encoding: 'utf8', cwd: new URL('../../../', import.meta.url).pathname },
    )
    t.equal(stderr, '')
    t.ok(Number(stdout) < 16 && stdout !== '', `${stdout.trim()} MiB are left of 64`)
  })
