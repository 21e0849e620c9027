import { MessageChannel } from 'node:worker_threads'
import t from 'tap'
import { MeshError } from '#base'
import type { Netns } from '#linux'
import { Counter, Readiness, Registry, silent, sumMetrics } from '#telemetry'
import { parseConfig } from '../../../ztunnel/config.ts'
import { type Spawn, workerMetrics, Workers } from '../../../ztunnel/control/index.ts'
import { shareAdmission } from '../../../ztunnel/proxy/index.ts'
import {
  type Batch,
  type ControlCalls,
  Link,
  type WorkerCalls,
  type WorkerStart,
} from '../../../ztunnel/worker/index.ts'
import { until } from '../../fakes/until.ts'

type Rules = Readonly<{
  refuses?: (worker: FakeWorker, uid: string) => boolean
  beats?: (worker: FakeWorker) => boolean
}>

/** A worker that only remembers what it was told. */
class FakeWorker {
  readonly index: number
  readonly heard: string[] = []
  readonly serving = new Map<number, string>()
  readonly counted = new Registry()
  readonly #ended = Promise.withResolvers<string>()
  readonly #channel = new MessageChannel()
  readonly #timer: NodeJS.Timeout
  readonly #rules: Rules

  constructor(start: WorkerStart, rules: Rules) {
    this.index = start.index
    this.#rules = rules
    const words = new Int32Array(start.beat)
    this.#timer = setInterval(() => {
      if (rules.beats?.(this) !== false) Atomics.add(words, 0, 1)
    }, 1)
    new Link<WorkerCalls, ControlCalls>(this.#channel.port2, this.#handlers())
  }

  #handlers() {
    const nothing = () => undefined
    return {
      ready: nothing,
      resources: (batches: readonly Batch[]) => {
        for (const { upserts, removed } of batches)
          this.heard.push(...upserts.map(({ name }) => `+${name}`), ...removed.map((name) => `-${name}`))
        return undefined
      },
      'start-pod': async ({ handle, pod }: WorkerCalls['start-pod']['ask']) => {
        if (this.#rules.refuses?.(this, pod.uid))
          throw new MeshError('syscall-failed', { message: 'port in use' })
        this.serving.set(handle, pod.uid)
        this.heard.push(`start ${pod.uid}`)
        return undefined
      },
      'release-pod': ({ handle, released }: WorkerCalls['release-pod']['ask']) => {
        this.heard.push(`${released ? 'release' : 'keep'} ${this.serving.get(handle)}`)
        return undefined
      },
      'stop-accepting': nothing,
      'drain-pod': nothing,
      'stop-pod': ({ handle }: WorkerCalls['stop-pod']['ask']) => {
        this.heard.push(`stop ${this.serving.get(handle) ?? 'nothing'}`)
        this.serving.delete(handle)
        return undefined
      },
      renewed: nothing,
      forgotten: nothing,
      'flush-log': nothing,
      metrics: () => this.counted.getMetricsAsJSON(),
      connections: () => ({}),
    } as const
  }

  /** Dies as a thread does. */
  die = async (reason = 'killed'): Promise<void> => {
    clearInterval(this.#timer)
    this.#channel.port1.close()
    this.#ended.resolve(reason)
  }
  get spawned() {
    return { port: this.#channel.port1, ended: this.#ended.promise, stop: () => this.die('stopped') }
  }
}

class WatchedReadiness extends Readiness {
  wasPending = false
  override pending(task: string): void {
    super.pending(task)
    this.wasPending = true
  }
}

async function world(test: { teardown(fn: () => unknown): unknown }, count: number, rules: Rules = {}) {
  const born: FakeWorker[] = []
  const readiness = new WatchedReadiness()
  const registry = new Registry()
  const spawn: Spawn = (start) => {
    const worker = new FakeWorker(start, rules)
    born.push(worker)
    return worker.spawned
  }
  const workers = new Workers({
    count,
    spawn,
    start: { config: parseConfig({ NODE_NAME: 'n1' }), fileLimit: 1024, admission: shareAdmission(count) },
    certificate: () => Promise.reject(new Error('none here')),
    readiness,
    metrics: workerMetrics(registry),
    log: silent,
    checkMs: 20,
  })
  test.teardown(() => workers[Symbol.asyncDispose]())
  await workers.start()
  readiness.wasPending = false
  return { workers, born, readiness, registry }
}

const pod = (uid: string) => ({ uid, name: uid, namespace: 'demo', serviceAccount: uid })
function netns(): Netns & { open: boolean } {
  const made = {
    fd: 99,
    inode: 1n,
    open: true,
    [Symbol.dispose]: () => {
      made.open = false
    },
  }
  return made
}
const batch = (...names: string[]): Batch => ({
  typeUrl: 'T',
  upserts: names.map((name) => ({ name, version: '1', bytes: Buffer.from(name) })),
  removed: [],
})

t.test('every worker hears of the mesh and listens in every pod', async (t) => {
  const { workers, born, readiness } = await world(t, 3)
  t.same(readiness.waitingFor, [])
  workers.publish(batch('a'))
  const space = netns()
  const proxy = await workers.startPod(pod('p'), space)
  for (const { heard } of born) t.same(heard, ['+a', 'start p'])
  await proxy.close()
  t.ok(born.every(({ serving }) => serving.size === 0))
  t.notOk(space.open, 'the namespace is let go when all have')
})

t.test('where one worker cannot listen the pod is not up, and the others let it go', async (t) => {
  const { workers, born } = await world(t, 3, { refuses: ({ index }) => index === 1 })
  const space = netns()
  await t.rejects(workers.startPod(pod('p'), space), { code: 'syscall-failed', message: 'port in use' })
  t.ok(born.every(({ serving }) => serving.size === 0))
  t.ok(space.open, 'it is the caller’s still, who may try again')
})

t.test('a worker that died is replaced, and its successor knows what it has to', async (t) => {
  const { workers, born, readiness, registry } = await world(t, 2)
  workers.publish(batch('a', 'b'))
  const [kept, gone] = [
    await workers.startPod(pod('kept'), netns()),
    await workers.startPod(pod('gone'), netns()),
  ]
  kept.released(true)
  await gone.close()
  workers.publish({ ...batch('c'), removed: ['a'] })
  await born[0]?.die('out of memory')
  await until(() => born.length === 3 && readiness.waitingFor.length === 0, 'ready again')
  t.ok(readiness.wasPending, 'and not meanwhile')
  t.same(born[2]?.heard, ['+b', '+c', 'start kept', 'release kept'])
  t.match(await registry.metrics(), /^lateen_data_worker_deaths_total 1$/m)
  t.match(await registry.metrics(), /^lateen_data_workers 2$/m)
  const late = await workers.startPod(pod('late'), netns())
  t.ok(born.slice(1).every(({ heard }) => heard.at(-1) === 'start late'))
  await Promise.all([late.close(), kept.close()])
})

t.test('what two counted that die together is in the sum, at every moment', async (t) => {
  const { workers, born } = await world(t, 3)
  for (const { counted } of born) new Counter({ name: 'c', help: 'c', registers: [counted] }).inc(100)
  const sum = async () => sumMetrics(await workers.metrics()).getSingleMetricAsString('c')
  t.match(await sum(), /^c 300$/m)
  const sums: string[] = []
  const [one, two] = born
  void one?.die()
  void two?.die()
  for (let n = 0; n < 20; n++) sums.push(await sum())
  await until(() => born.length === 5, 'both are replaced')
  sums.push(await sum())
  for (const each of sums) t.match(each, /^c 300$/m)
})

t.test('a pod that is started while a worker dies is up with those that live', async (t) => {
  const { workers, born } = await world(t, 2)
  const starting = workers.startPod(pod('p'), netns())
  await born[0]?.die()
  await starting
  await until(() => born[2]?.serving.size === 1, 'the new one serves it too')
})

t.test('one that keeps dying is brought back more and more slowly', async (t) => {
  const { born } = await world(t, 1)
  const started = performance.now()
  for (let n = 0; n < 3; n++) {
    const { length } = born
    await born.at(-1)?.die()
    await until(() => born.length > length, 'the next')
  }
  t.ok(performance.now() - started > 600, 'at once, then after about 250 and 500 ms')
})

t.test('a successor that cannot serve a pod yet is not counted as good, and tries again', async (t) => {
  let busy = true
  const { workers, born, readiness } = await world(t, 2, {
    refuses: ({ index }) => index === 1 && busy && born.length > 2,
  })
  await workers.startPod(pod('p'), netns())
  await born[1]?.die()
  await until(() => born[2]?.heard.includes('stop nothing') === true, 'a try that failed')
  t.not(readiness.waitingFor.length, 0)
  busy = false
  await until(() => readiness.waitingFor.length === 0, 'ready again')
  t.equal(born[2]?.serving.size, 1)
})

t.test('a loop that stands still makes us not ready; one that stays so is ended and replaced', async (t) => {
  let still = false
  const { born, readiness } = await world(t, 2, {
    beats: ({ index }) => index === 0 || !still || born.length > 2,
  })
  still = true
  await until(() => readiness.waitingFor.length > 0, 'seen')
  t.equal(born.length, 2, 'it may come back')
  still = false
  await until(() => readiness.waitingFor.length === 0, 'it did')
  t.equal(born.length, 2)
  still = true
  await until(() => born.length === 3 && readiness.waitingFor.length === 0, 'or is replaced')
})

t.test('who leaves brings nobody back', async (t) => {
  const { workers, born } = await world(t, 2)
  workers.drain()
  await born[0]?.die()
  await workers[Symbol.asyncDispose]()
  t.equal(born.length, 2)
})

t.test('a worker that cannot be started at all is an error of the start', async (t) => {
  const workers = new Workers({
    count: 1,
    spawn: (start) => {
      const worker = new FakeWorker(start, {})
      void worker.die('no such file')
      return worker.spawned
    },
    start: { config: parseConfig({ NODE_NAME: 'n1' }), fileLimit: 1024, admission: shareAdmission(1) },
    certificate: () => Promise.reject(new Error('none here')),
    readiness: new Readiness(),
    metrics: workerMetrics(new Registry()),
    log: silent,
  })
  await t.rejects(workers.start(), { code: 'unavailable' })
  await workers[Symbol.asyncDispose]()
})
