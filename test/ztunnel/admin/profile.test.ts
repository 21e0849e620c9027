import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { gunzipSync } from 'node:zlib'
import { encodePprof } from '../../../ztunnel/admin/profile/pprof.ts'
import { cpuSamples, heapSamples } from '../../../ztunnel/admin/profile/samples.ts'
import { fieldsOf, textOf } from '../../lib/policy/wire-fields.ts'
import { startAdmin } from './admin-kit.ts'

/** A profile as `go tool pprof` sees it: who was seen where, in which thread. */
function decode(bytes: Uint8Array) {
  const fields = fieldsOf(bytes)
  const all = (number: number) => fields.filter((field) => field.number === number)
  const texts = all(6).map((field) => textOf(field.bytes) ?? '?')
  const inside = (field: { bytes: Uint8Array }) =>
    Object.fromEntries(fieldsOf(field.bytes).map((inner) => [inner.number, inner]))
  const text = (field: { value: number } | undefined) => texts[field?.value ?? 0] ?? '?'
  const functions = new Map(
    all(5)
      .map(inside)
      .map((f) => [f[1]?.value, { name: text(f[2]), file: text(f[4]) }]),
  )
  const locations = new Map(
    all(4)
      .map(inside)
      .map((l) => [l[1]?.value, functions.get(l[4] && inside(l[4])[1]?.value)]),
  )
  const packed = (field: { bytes: Uint8Array } | undefined) => [...(field ? numbers(field.bytes) : [])]
  return {
    texts,
    units: all(1)
      .map(inside)
      .map((u) => `${text(u[1])}/${text(u[2])}`),
    samples: all(2)
      .map(inside)
      .map((s) => ({
        stack: packed(s[1]).map((id) => locations.get(id)?.name ?? '?'),
        values: packed(s[2]),
        thread: s[3] && text(inside(s[3])[2]),
      })),
  }
}
function* numbers(bytes: Uint8Array) {
  let value = 0
  let scale = 1
  for (const byte of bytes) {
    value += (byte & 127) * scale
    scale *= 128
    if (byte >= 128) continue
    yield value
    value = 0
    scale = 1
  }
}

const frame = (functionName: string, lineNumber = 1) => ({
  functionName,
  url: `file:///app/${functionName}.ts`,
  lineNumber,
})

t.test('V8 samples become stacks, innermost first, without what is idle', async (t) => {
  const answer = {
    profile: {
      nodes: [
        { id: 1, callFrame: frame('(root)'), children: [2, 3, 4] },
        { id: 2, callFrame: frame('(idle)') },
        { id: 3, callFrame: frame('outer'), children: [5] },
        { id: 4, callFrame: frame('(garbage collector)') },
        { id: 5, callFrame: frame('inner') },
      ],
      samples: [2, 5, 5, 3, 4, 1],
      timeDeltas: [1000, 10, 20, 5, 7, -3],
    },
  }
  const shown = cpuSamples('data-0', answer).map(({ frames, values }) => [
    frames.map((f) => f.functionName).join('<'),
    ...values,
  ])
  t.same(shown, [
    ['inner<outer', 2, 30_000],
    ['outer', 1, 5_000],
    ['(garbage collector)', 1, 7_000],
  ])
  t.throws(() => cpuSamples('x', { profile: { nodes: 'none' } }))
})

t.test('a heap becomes the bytes of each stack', async (t) => {
  const head = {
    callFrame: frame('(root)'),
    selfSize: 0,
    children: [
      {
        callFrame: frame('outer'),
        selfSize: 10,
        children: [{ callFrame: frame('inner'), selfSize: 5, children: [] }],
      },
    ],
  }
  const shown = heapSamples('control', { profile: { head } }).map(({ frames, values }) => [
    frames.map((f) => f.functionName).join('<'),
    ...values,
  ])
  t.same(shown, [
    ['outer', 10],
    ['inner<outer', 5],
  ])
})

const example = encodePprof({
  samples: [
    { thread: 'data-0', frames: [frame('inner'), frame('outer')], values: [2, 30_000_000_000] },
    { thread: 'control', frames: [frame('outer'), { ...frame(''), lineNumber: -1 }], values: [1, 5] },
  ],
  units: [
    ['samples', 'count'],
    ['cpu', 'nanoseconds'],
  ],
  period: { unit: ['cpu', 'nanoseconds'], every: 10_000_000 },
  startedAt: new Date('2026-11-21T10:00:00Z'),
  durationMs: 1_000,
})

t.test('the encoding says who was where', async (t) => {
  const { units, samples, texts } = decode(example)
  t.equal(texts[0], '')
  t.same(units, ['samples/count', 'cpu/nanoseconds'])
  t.same(samples, [
    { stack: ['inner', 'outer'], values: [2, 30_000_000_000], thread: 'data-0' },
    { stack: ['outer', '(anonymous)'], values: [1, 5], thread: 'control' },
  ])
})

const go = process.env['LATEEN_GO_PPROF'] === 'true' && spawnSync('go', ['version']).status === 0
t.test('go tool pprof reads it', { skip: !go && 'only with LATEEN_GO_PPROF=true and Go' }, async (t) => {
  const file = `${t.testdir()}/profile.pb`
  writeFileSync(file, example)
  const { stdout } = spawnSync('go', ['tool', 'pprof', '-top', file], { encoding: 'utf8' })
  t.match(stdout, /Type: cpu/)
  t.match(stdout, /30000000000ns .* inner/)
})

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** A thread that is busy in a function of a name that nobody else has. */
async function busyWorker(test: { teardown(fn: () => unknown): unknown }) {
  const source = `
    const kept = []
    function busyInTheWorker() {
      const until = performance.now() + 5
      while (performance.now() < until) Math.sqrt(until)
      for (let n = 0; n < 200; n++) kept.push(new Array(64).fill(n))
      setTimeout(busyInTheWorker, 1)
    }
    busyInTheWorker()
    require('node:worker_threads').parentPort.postMessage('up')`
  const worker = new Worker(source, { eval: true, name: 'data-0' })
  test.teardown(() => worker.terminate())
  await once(worker, 'message')
  return worker
}

async function start(test: Parameters<typeof startAdmin>[0]) {
  const admin = await startAdmin(test)
  const get = async (path: string, options: RequestInit = {}) => {
    const answer = await fetch(`http://127.0.0.1:${admin.port}${path}`, options)
    const bytes = Buffer.from(await answer.arrayBuffer())
    return { status: answer.status, type: answer.headers.get('content-type'), bytes }
  }
  return { ...admin, get }
}

t.test('a CPU profile shows all threads by their names', async (t) => {
  await busyWorker(t)
  const { get } = await start(t)
  const { status, type, bytes } = await get('/debug/pprof/profile?seconds=1&frequency=500')
  t.equal(status, 200)
  t.equal(type, 'application/octet-stream')
  const { samples, units } = decode(gunzipSync(bytes))
  t.same(units, ['samples/count', 'cpu/nanoseconds'])
  const busy = samples.filter(({ stack }) => stack.includes('busyInTheWorker'))
  t.ok(busy.length > 0)
  t.ok(busy.every(({ thread }) => thread === 'data-0'))
  const nanoseconds = busy.reduce((sum, { values }) => sum + (values[1] ?? 0), 0)
  t.ok(nanoseconds > 1e7, `${nanoseconds / 1e6} ms of it`)
})

t.test(
  'the heap profile shows what was allocated in the time, or since sampling was switched on',
  async (t) => {
    await busyWorker(t)
    const { get } = await start(t)
    const bytesOf = async (path: string) => {
      const { samples } = decode(gunzipSync((await get(path)).bytes))
      const mine = samples.filter(
        ({ stack, thread }) => stack.includes('busyInTheWorker') && thread === 'data-0',
      )
      return mine.reduce((sum, { values }) => sum + (values[0] ?? 0), 0)
    }
    t.ok((await bytesOf('/debug/pprof/heap?seconds=1')) > 10_000)
    t.equal((await get('/debug/pprof/heap/profiling?activate=true')).status, 405)
    const post = { method: 'POST' }
    t.match(
      (await get('/debug/pprof/heap/profiling?activate=true', post)).bytes.toString(),
      'heap profiling is on',
    )
    t.equal((await get('/debug/pprof/heap/profiling?activate=maybe', post)).status, 400)
    const started = performance.now()
    while ((await bytesOf('/debug/pprof/heap')) < 50_000) t.ok(performance.now() - started < 20_000)
    t.match(
      (await get('/debug/pprof/heap/profiling?activate=false', post)).bytes.toString(),
      'heap profiling is off',
    )
  },
)

t.test('a thread that dies while it is watched is left out', async (t) => {
  const worker = await busyWorker(t)
  const { get, profiler } = await start(t)
  const profile = get('/debug/pprof/profile?seconds=1')
  while ((await profiler.sampleHeap(false)) !== undefined) await turn()
  await worker.terminate()
  const { status, bytes } = await profile
  t.equal(status, 200)
  t.ok(decode(gunzipSync(bytes)).samples.every(({ thread }) => thread === 'control'))

  const another = await busyWorker(t)
  await get('/debug/pprof/heap/profiling?activate=true', { method: 'POST' })
  await another.terminate()
  t.equal((await get('/debug/pprof/heap')).status, 200)
  await busyWorker(t)
  t.equal((await get('/debug/pprof/heap')).status, 200)
  t.equal((await get('/debug/pprof/heap/profiling?activate=false', { method: 'POST' })).status, 200)
})

t.test(
  'one profile at a time; another one is refused, and takes its turn when the asker has gone',
  async (t) => {
    const { get, profiler } = await start(t)
    const abort = new AbortController()
    const long = get('/debug/pprof/profile?seconds=300', { signal: abort.signal })
    const busy = async () => (await profiler.sampleHeap(false)) === undefined
    while (!(await busy())) await turn()
    t.equal((await get('/debug/pprof/profile?seconds=1')).status, 503)
    t.equal((await get('/debug/pprof/heap?seconds=1')).status, 503)
    abort.abort()
    await t.rejects(long)
    while (await busy()) await turn()
    t.equal((await get('/debug/pprof/profile?seconds=1')).status, 200)
  },
)

t.test('a profile has a bound', async (t) => {
  const { get } = await start(t)
  for (const query of [
    'seconds=0',
    'seconds=301',
    'seconds=1e2',
    'seconds=',
    'frequency=0',
    'frequency=1001',
    'seconds=-1',
  ])
    t.equal((await get(`/debug/pprof/profile?${query}`)).status, 400, query)
  t.equal((await get('/debug/pprof/heap?seconds=301')).status, 400)
})
