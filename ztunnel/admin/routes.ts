import { type AdminRoutes, answerLogging, type Answer, type LogControl, post } from '#telemetry'
import { configDump, type DumpParts } from './config-dump.ts'
import type { Profiler } from './profile/index.ts'

export type AdminParts = DumpParts &
  Readonly<{
    logs: LogControl
    profiler: Profiler
    /** Starts the graceful end; resolves when it is over. */
    quit(): Promise<void>
  }>

/** ztunnel's admin paths (facts: ztunnel.md §8.1). */
export const adminRoutes = (parts: AdminParts): AdminRoutes => ({
  '/': () => ({ status: 200, type: 'text/html; charset=utf-8', body: index }),
  '/config_dump': sharedWhileUnderWay(async () => json(await configDump(parts))),
  '/logging': post(({ query }) => answerLogging(query, parts.logs, parts.config.log.filter)),
  '/quitquitquit': post(async () => {
    await parts.quit()
    return { status: 200, body: 'shutdown now\n' }
  }),
  '/debug/pprof/profile': ({ query, signal }) => cpuProfile(parts.profiler, query, signal),
  '/debug/pprof/heap': ({ query, signal }) => heapProfile(parts.profiler, query, signal),
  '/debug/pprof/heap/profiling': post(({ query }) => sampleHeap(parts.profiler, query.get('activate'))),
})

/** A dump of a big mesh is some megabytes and a moment of this thread: those who ask meanwhile get the same one. */
function sharedWhileUnderWay(make: () => Promise<Answer>): () => Promise<Answer> {
  let underWay: Promise<Answer> | undefined
  return () => {
    underWay ??= make().finally(() => {
      underWay = undefined
    })
    return underWay
  }
}

async function cpuProfile(profiler: Profiler, query: URLSearchParams, signal: AbortSignal): Promise<Answer> {
  const seconds = numberOf(query, 'seconds', 10, 300)
  const frequency = numberOf(query, 'frequency', 100, 1_000)
  if (seconds === undefined || frequency === undefined)
    return bad('seconds must be 1 to 300, frequency 1 to 1000')
  return pprof(await profiler.cpu(seconds, frequency, signal), 'profile')
}

async function heapProfile(profiler: Profiler, query: URLSearchParams, signal: AbortSignal): Promise<Answer> {
  const seconds = numberOf(query, 'seconds', 10, 300)
  if (seconds === undefined) return bad('seconds must be 1 to 300')
  return pprof(await profiler.heap(seconds, signal), 'heap')
}

async function sampleHeap(profiler: Profiler, activate: string | null): Promise<Answer> {
  if (activate !== 'true' && activate !== 'false') return bad('activate must be true or false')
  const active = await profiler.sampleHeap(activate === 'true')
  if (active === undefined) return busy
  return { status: 200, body: `heap profiling is ${active ? 'on' : 'off'}\n` }
}

/** A whole number from 1 to `max`; undefined when something else is asked for. */
function numberOf(query: URLSearchParams, name: string, otherwise: number, max: number): number | undefined {
  const text = query.get(name)
  if (text === null) return otherwise
  const number = /^\d{1,4}$/.test(text) ? Number(text) : 0
  return number >= 1 && number <= max ? number : undefined
}

const bad = (reason: string): Answer => ({ status: 400, body: `${reason}\n` })
const busy: Answer = { status: 503, body: 'another profile is being taken\n' }
const pprof = (profile: Uint8Array | undefined, name: string): Answer =>
  profile === undefined
    ? busy
    : {
        status: 200,
        type: 'application/octet-stream',
        headers: { 'content-disposition': `attachment; filename="${name}.pb.gz"` },
        body: profile,
      }

const json = (value: unknown): Answer => ({
  status: 200,
  type: 'application/json',
  body: `${JSON.stringify(value, null, 2)}\n`,
})

const index = `<!doctype html><title>ztunnel</title><h1>ztunnel admin</h1><ul>
<li><a href="config_dump">config_dump</a>: the mesh as it was received, certificates, connections
<li>logging (POST): ?level=debug, ?level=access=debug; &amp;reset
<li>quitquitquit (POST): drains and ends
<li><a href="debug/pprof/profile">debug/pprof/profile</a>: CPU of all threads; ?seconds=1..300&amp;frequency=1..1000
<li><a href="debug/pprof/heap">debug/pprof/heap</a>: what is allocated in the next seconds and stays; ?seconds=1..300
<li>debug/pprof/heap/profiling (POST): ?activate=true, then heap tells of everything since
</ul>
`
