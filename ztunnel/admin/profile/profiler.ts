import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { sleep } from '#base'
import { encodePprof, type Profile } from './pprof.ts'
import { cpuSamples, heapSamples } from './samples.ts'
import { type Thread, Threads } from './threads.ts'

/** Bytes allocated between two samples of the heap, on average (V8's own default). */
const heapInterval = 32_768

const compress = promisify(gzip)

/** Profiles of this process, all its threads in one; what it measures costs the threads a few percent meanwhile. */
export class Profiler {
  #busy = false
  /** Heap sampling that goes on until it is switched off. */
  #sampling: Readonly<{ threads: Threads; since: Date }> | undefined

  /** Runs one profile at a time; undefined while another is under way. */
  async #alone<T>(take: () => Promise<T>): Promise<T | undefined> {
    if (this.#busy) return undefined
    this.#busy = true
    try {
      return await take()
    } finally {
      this.#busy = false
    }
  }

  /** What every thread did in the next seconds, in pprof's format. */
  cpu(seconds: number, frequency: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#alone(async () => {
      using threads = await Threads.open()
      const startedAt = new Date()
      const interval = Math.round(1e6 / frequency)
      await threads.every(async ({ ask }) => {
        await ask('Profiler.enable')
        await ask('Profiler.setSamplingInterval', { interval })
        await ask('Profiler.start')
      })
      try {
        await sleep(seconds * 1_000, signal)
      } finally {
        if (signal.aborted) await threads.every(({ ask }) => ask('Profiler.disable'))
      }
      const samples = await threads.every(async ({ name, ask }) => {
        const answer = await ask('Profiler.stop')
        await ask('Profiler.disable')
        return cpuSamples(name, answer)
      })
      return finish({
        samples: samples.flat(),
        units: [
          ['samples', 'count'],
          ['cpu', 'nanoseconds'],
        ],
        period: { unit: ['cpu', 'nanoseconds'], every: interval * 1_000 },
        startedAt,
        durationMs: seconds * 1_000,
      })
    })
  }

  /** What was allocated and is still there: since sampling was switched on, or in the next seconds. */
  heap(seconds: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#alone(async () => {
      if (this.#sampling) return heapOf(this.#sampling.threads, this.#sampling.since)
      using threads = await Threads.open()
      const since = new Date()
      await threads.every(startSampling)
      try {
        await sleep(seconds * 1_000, signal)
        return await heapOf(threads, since)
      } finally {
        await threads.every(stopSampling)
      }
    })
  }

  /** Switches heap sampling on or off; undefined while a profile is under way. */
  sampleHeap(active: boolean): Promise<boolean | undefined> {
    return this.#alone(async () => {
      if (active === (this.#sampling !== undefined)) return active
      if (active) {
        const threads = await Threads.open()
        await threads.every(startSampling)
        this.#sampling = { threads, since: new Date() }
      } else if (this.#sampling) {
        using threads = this.#sampling.threads
        this.#sampling = undefined
        await threads.every(stopSampling)
      }
      return active
    })
  }

  [Symbol.dispose](): void {
    this.#sampling?.threads[Symbol.dispose]()
    this.#sampling = undefined
  }
}

const startSampling = ({ ask }: Thread) =>
  ask('HeapProfiler.startSampling', { samplingInterval: heapInterval })
const stopSampling = ({ ask }: Thread) => ask('HeapProfiler.stopSampling')

async function heapOf(threads: Threads, startedAt: Date): Promise<Uint8Array> {
  const samples = await threads.every(async ({ name, ask }) =>
    heapSamples(name, await ask('HeapProfiler.getSamplingProfile')),
  )
  return finish({
    samples: samples.flat(),
    units: [['inuse_space', 'bytes']],
    period: { unit: ['space', 'bytes'], every: heapInterval },
    startedAt,
    durationMs: Date.now() - startedAt.getTime(),
  })
}

const finish = (profile: Profile): Promise<Uint8Array> => compress(encodePprof(profile))
