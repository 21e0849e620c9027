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

t.test('who would have to compile everything anew collects for much only', async (t) => {
  const kept: Quiet = { looks: 2, keptBytes: 40 * mib }
  t.equal(decideCollection(still(120), kept, 128 * mib).collect, false)
  t.equal(decideCollection(still(120), kept).collect, true)
  t.equal(decideCollection(still(170), kept, 128 * mib).collect, true)
})

function runProgram(text: string, flags: readonly string[] = [], wrap: readonly string[] = []) {
  const [command, ...rest] = [...wrap, process.execPath, '--input-type=module', ...flags, '--eval', text]
  return spawnSync(command, rest, {
    encoding: 'utf8',
    cwd: new URL('../../../', import.meta.url).pathname,
  })
}

for (const how of ['once', 'warm'] as const)
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
    const { stdout, stderr } = runProgram(program, ['--no-memory-reducer'])
    t.equal(stderr, '')
    t.ok(Number(stdout) < 16 && stdout !== '', `${stdout.trim()} MiB are left of 64`)
  })

t.test('a process without a descriptor to spare is looked at all the same', async (t) => {
  const program = `
    import { closeSync, openSync } from 'node:fs';
    import { collectWhenQuiet } from '#base';
    process.once('uncaughtException', (error) => { console.log(error.code); process.exit(0) });
    const stop = new AbortController();
    collectWhenQuiet(stop.signal);
    const opened = [];
    let isFull = false;
    while (!isFull) try { opened.push(openSync('/dev/null')) } catch { isFull = true }
    setTimeout(() => {
      console.log('went on');
      stop.abort();
      // tap writes a file when a process ends.
      for (const fd of opened) closeSync(fd);
      process.exit(0);
    }, 2500);
  `
  const { stdout } = runProgram(program, [], ['prlimit', '--nofile=256:256'])
  t.equal(stdout.trim(), 'went on')
})

/**
 * Quiet, and collected; a function is compiled for a shape; so much is left behind, and it is quiet: what is it now? On a
 * machine with much to do it takes its time until a process has been quiet.
 */
const compiledBefore = (leftMib: number, waitMs: number) => `
  import { constants, PerformanceObserver } from 'node:perf_hooks';
  import { collectWhenQuiet } from '#base';
  class Request { constructor(n) { this.method = 'GET'; this.bytes = n } }
  const sum = (request) => request.bytes + request.method.length;
  const optimized = 1 << 3;
  const isCompiled = () => (%GetOptimizationStatus(sum) & optimized) !== 0;
  let thorough = 0;
  new PerformanceObserver((list) => {
    for (const { detail } of list.getEntries())
      if (detail.flags & constants.NODE_PERFORMANCE_GC_FLAGS_ALL_AVAILABLE_GARBAGE) thorough++;
  }).observe({ entryTypes: ['gc'] });
  const stop = new AbortController();
  collectWhenQuiet(stop.signal, 'warm');
  const held = [Buffer.alloc(32 << 20, 1)];
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  for (let looks = 0; thorough === 0 && looks < 250; looks++) await sleep(100);
  const first = thorough;
  %PrepareFunctionForOptimization(sum);
  for (let i = 0; i < 1000; i++) sum(new Request(i));
  %OptimizeFunctionOnNextCall(sum);
  sum(new Request(1));
  const before = isCompiled();
  held.push(Buffer.alloc(${leftMib} << 20, 1));
  const deadline = Date.now() + ${waitMs};
  while (thorough === first && Date.now() < deadline) await sleep(100);
  console.log(first > 0, before, isCompiled(), thorough > first);
  stop.abort();
`

t.test(
  'what was compiled for requests is kept while there are none, unless very much is left behind',
  { timeout: 120_000 },
  async (t) => {
    for (const [leftMib, waitMs, said] of [
      [64, 6_000, 'true true true false'],
      [192, 25_000, 'true true false true'],
    ] as const) {
      const { stdout, stderr } = runProgram(compiledBefore(leftMib, waitMs), [
        '--allow-natives-syntax',
        '--no-warnings',
      ])
      t.equal(stderr, '')
      t.equal(stdout.trim(), said, `${leftMib} MiB`)
    }
  },
)
