import { sleep } from '#base'
import {
  type Collection,
  type Custom,
  isStatus,
  type KubeClient,
  kinds,
  type Namespace,
  workQueue,
} from '#kube'
import type { Logger } from '#telemetry'
import type { Unbound } from '../collections/index.ts'
import type { Writer } from './lead.ts'
import { timeOf } from './write-status.ts'

type NamespaceEventOptions = Readonly<{
  client: KubeClient
  namespaces: Collection<Namespace>
  /** By namespace, why its label leads nowhere. */
  loose: Collection<Unbound>
  log: Logger
  /** A waypoint that is made together with the label is there by then. */
  graceMs?: number
  /** The API server forgets events after an hour; one that is still so is told again. */
  againMs?: number
  now?: () => Date
}>

/** One object per namespace, however often it changes; written at most once per grace. */
const eventName = (namespace: string) => `${namespace}.use-waypoint`
const maxMessage = 1024

/**
 * Tells the readers of a namespace's events that its label names a waypoint that it cannot have, and when it has one.
 * (Istio tells the owners of Services only: a typo in the label of a namespace without any is seen nowhere.)
 */
export const namespaceEventWriter =
  (options: NamespaceEventOptions): Writer =>
  async (signal) => {
    const { namespaces, loose, log, graceMs = 10_000, againMs = 1_800_000 } = options
    /** What was written in this term of leading. */
    const told = new Map<string, Told>()
    await using queue = workQueue({
      name: 'namespace events',
      signal,
      log,
      concurrency: 4,
      reconcile: async (name, stop) => {
        const object = namespaces.get(name)
        if (!object || object.metadata.deletionTimestamp !== undefined) return void told.delete(name)
        const before = told.get(name)
        const said = sayingOf(loose.get(name), before)
        if (said === undefined || (before?.text === said.message && !before.again)) return
        const count = (before?.count ?? 0) + 1
        await write(options, object, said, count, stop)
        told.set(name, { text: said.message, isLoose: said.type === 'Warning', count, again: false })
      },
    })
    const later = (name: string) =>
      sleep(graceMs, signal)
        .then(() => queue.add(name))
        .catch(() => undefined)
    const waiting = new Set<string>()
    using _loose = loose.subscribe((changes) => {
      for (const { key } of changes) {
        if (waiting.has(key)) continue
        waiting.add(key)
        void later(key).then(() => waiting.delete(key))
      }
    })
    const timer = setInterval(() => {
      for (const name of loose.keys()) {
        const before = told.get(name)
        if (before) told.set(name, { ...before, again: true })
        queue.add(name)
      }
    }, againMs)
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
    clearInterval(timer)
  }

type Told = Readonly<{ text: string; isLoose: boolean; count: number; again: boolean }>
type Saying = Readonly<{ type: 'Warning' | 'Normal'; reason: string; message: string }>

/** That a label leads somewhere is news only to those who were told that it does not. */
function sayingOf(unbound: Unbound | undefined, before: Told | undefined): Saying | undefined {
  if (unbound === undefined)
    return before?.isLoose === true
      ? { type: 'Normal', reason: 'WaypointAccepted', message: 'istio.io/use-waypoint is followed' }
      : undefined
  const { reference, reason, why } = unbound
  const message = `istio.io/use-waypoint names ${reference}: ${why}; traffic stays at L4`
  return { type: 'Warning', reason, message: message.slice(0, maxMessage) }
}

async function write(
  { client, now = () => new Date() }: NamespaceEventOptions,
  { metadata: { name = '', uid } }: Namespace,
  said: Saying,
  count: number,
  signal: AbortSignal,
): Promise<void> {
  const lastTimestamp = timeOf(now())
  // An event is of the namespace that its object is of; a Namespace's own is the one where its users look.
  const about = { apiVersion: 'v1', kind: 'Namespace', name, namespace: name, ...(uid ? { uid } : {}) }
  const event: Custom & Record<string, unknown> = {
    metadata: { name: eventName(name), namespace: name },
    involvedObject: about,
    source: { component: 'istiod' },
    reportingComponent: 'istio.io/istiod',
    firstTimestamp: lastTimestamp,
    lastTimestamp,
    count,
    ...said,
  }
  try {
    await client.create(kinds.Event, event, { signal })
  } catch (error) {
    if (isStatus(error, 404) || (isStatus(error, 403) && error.message.includes('being terminated'))) return
    if (!isStatus(error, 409)) throw error
    const ref = { kind: kinds.Event, namespace: name, name: eventName(name) }
    await client.mergePatch(ref, { ...said, lastTimestamp, count }, { signal })
  }
}
