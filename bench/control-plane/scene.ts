import { z } from 'zod'
import { sleep } from '#base'
import { createRoot } from '#identity'
import { selfSignedParts } from '../../controller/ca/authority.ts'
import { type Controller, startController, type Usage } from './controller.ts'
import type { Size } from './mesh.ts'
import { type Crew, crew, nowMs } from './orders.ts'

const Synced = z.object({ lastMs: z.number(), responses: z.number(), bytes: z.number() })
const Touched = z.object({ uid: z.string(), atMs: z.number() })
const Reconnected = z.object({ readBytes: z.number(), writtenBytes: z.number(), lastMs: z.number() })
const Received = z.object({ responses: z.number(), bytes: z.number() })

/** The API server with its mesh, which outlives the controllers that are started against it. */
export type World = AsyncDisposable & Readonly<{ api: Crew; apiPort: number; size: Size; rootPem: string }>

export async function openWorld(size: Size): Promise<World> {
  const api = crew('api.ts')
  const root = createRoot({ organization: 'cluster.local', validityMs: 24 * 3600_000 })
  const metadata = { name: 'istio-ca-secret', namespace: 'istio-system' }
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata,
    type: 'istio.io/ca-root',
    data: selfSignedParts(root),
  }
  const apiPort = z.number().parse(await api.order('load', { ...size, secret }))
  return {
    api,
    apiPort,
    size,
    rootPem: root.certPem,
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  }
}

/** A controller and its clients. */
export type Scene = AsyncDisposable &
  Readonly<{ world: World; controller: Controller; clients: Crew; startedMs: number }>

/** `keys` for clients that ask for what they need; without, they want everything. */
export async function openScene(
  world: World,
  o: Readonly<{ clients: number; keys?: readonly string[]; env?: Readonly<Record<string, string>> }>,
): Promise<Scene> {
  const clients = crew('clients.ts')
  await clients.order('ready')
  const startedMs = nowMs()
  const controller = await startController(world.apiPort, { PILOT_DEBOUNCE_AFTER: '0ms', ...o.env })
  const { rootPem } = world
  await clients.order('start', { count: o.clients, port: controller.port, rootPem, keys: o.keys })
  return {
    world,
    controller,
    clients,
    startedMs,
    async [Symbol.asyncDispose]() {
      await clients[Symbol.asyncDispose]()
      await controller[Symbol.asyncDispose]()
    },
  }
}

/** Milliseconds from the start of the controller until its last client had everything. */
export async function coldStart({ clients, controller, startedMs }: Scene) {
  const { lastMs, responses, bytes } = Synced.parse(await withController(controller, clients.order('synced')))
  return { ms: lastMs - startedMs, responses, bytes, ...controller.usage() }
}

/** A controller that ends has lost; nobody waits for it. */
async function withController<T>(controller: Controller, answer: Promise<T>): Promise<T> {
  const done = new AbortController()
  const watch = async () => {
    while (controller.isRunning()) await sleep(100, done.signal)
    throw new Error(`the controller ended: ${controller.log().slice(-2000)}`)
  }
  try {
    return await Promise.race([answer, watch()])
  } finally {
    done.abort()
  }
}

/** One pod changes, again and again: milliseconds until the last client has it. */
export async function changeLatencies(
  { world, clients }: Scene,
  samples: number,
  podOf = (i: number): number => (i * 97) % world.size.pods,
): Promise<readonly number[]> {
  const forever = new AbortController().signal
  const latencies: number[] = []
  for (let i = 0; i < samples; i++) {
    const n = podOf(i)
    await clients.order('expect', { name: await world.api.order('uid', { n }) })
    const { atMs } = Touched.parse(await world.api.order('touch', { n }))
    latencies.push(z.number().parse(await clients.order('last')) - atMs)
    await sleep(5, forever) // the ACKs of one change are not the next one's
  }
  return latencies
}

export const reconnect = async ({ clients }: Scene) => Reconnected.parse(await clients.order('reconnect'))
const received = async ({ clients }: Scene) => Received.parse(await clients.order('received'))

/**
 * Resident memory once nothing has happened for a while: the least of the last samples. The controller returns what a
 * burst has left about four seconds after it, V8 the pages of that about eight seconds later.
 */
export async function settledRss({ controller }: Scene, seconds = 20): Promise<number> {
  const forever = new AbortController().signal
  const samples: number[] = []
  for (let i = 0; i < seconds * 2; i++) {
    await sleep(500, forever)
    samples.push(controller.usage().rssBytes)
  }
  return Math.min(...samples.slice(-6))
}

type Churned = Readonly<{
  changes: number
  seconds: number
  cpuSeconds: number
  before: Usage
  after: Usage
  samples: readonly number[]
  pushes: number
  bytes: number
}>

/** Pods come, go and change at a rate. */
export async function churn(scene: Scene, perSecond: number, seconds: number): Promise<Churned> {
  const { world, controller } = scene
  const done = new AbortController()
  const samples: number[] = []
  const sampling = (async () => {
    while (!done.signal.aborted) {
      samples.push(controller.usage().rssBytes)
      await sleep(1000, done.signal).catch(() => undefined)
    }
  })()
  const got = await received(scene)
  const before = controller.usage()
  const Made = z.object({ changes: z.number(), seconds: z.number() })
  const made = Made.parse(await withController(controller, world.api.order('churn', { perSecond, seconds })))
  const after = controller.usage()
  done.abort()
  await sampling
  const now = await received(scene)
  return {
    ...made,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    before,
    after,
    samples,
    pushes: now.responses - got.responses,
    bytes: now.bytes - got.bytes,
  }
}
