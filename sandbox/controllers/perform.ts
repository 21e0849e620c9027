import { messageOf, unreachable, within } from '#base'
import { type Collection, isStatus, type KubeClient, keyOf, type Kind, type KubeObject, pathOf } from '#kube'
import type { Logger } from '#telemetry'
import type { Action } from './actions.ts'
import { warning } from './actions.ts'
import { writeEvent } from './events.ts'
import { pods } from './objects.ts'
import { nameSuffix } from './pod-state.ts'

/** Where actions are done, and the collections that will show them. */
export type World = Readonly<{
  client: KubeClient
  /** By plural; a kind that nobody watches is not waited for. */
  collections: ReadonlyMap<string, Collection<KubeObject>>
  log: Logger
  now: () => Date
}>

/** Longest wait for our own write to come back through the watch; then we go on with what is known. */
const echoMs = 5_000
const fieldManager = 'kube-controller-manager'

/**
 * Executes actions in order and returns when the collections show them, so that the next plan for the same key never
 * counts a pod twice. Returns when to look again, if a plan asked for that. The first failure ends it.
 */
export async function perform(
  actions: readonly Action[],
  world: World,
  signal: AbortSignal,
): Promise<number | undefined> {
  const echoes: Promise<void>[] = []
  let afterMs: number | undefined
  for (const action of actions) {
    if (action.kind === 'again') afterMs = Math.min(afterMs ?? Number.POSITIVE_INFINITY, action.afterMs)
    else echoes.push(...(await execute(action, world, signal)))
  }
  await Promise.all(echoes)
  return afterMs
}

/** Does one thing; what it returns resolves when the collections show it. */
async function execute(
  action: Exclude<Action, { kind: 'again' }>,
  world: World,
  signal: AbortSignal,
): Promise<Promise<void>[]> {
  const { client } = world
  switch (action.kind) {
    case 'create':
      return [shown(world, action.of, await create(action, world, signal), signal)]
    case 'patch': {
      const { ref, patch, subresource } = action
      const options = { fieldManager, signal, ...(subresource && { subresource }) }
      const written = await client.mergePatch(ref, patch, options).catch(unlessGone)
      return written ? [shown(world, ref.kind, written, signal)] : []
    }
    case 'delete': {
      const { ref, uid, force } = action
      const body = { preconditions: { uid }, ...(force && { gracePeriodSeconds: 0 }) }
      // 409: it is another object by now, and not the one that was to go.
      await client.delete(ref, { body, signal }).catch((error: unknown) => {
        if (!isStatus(error, 409)) throw error
      })
      const isGone = (row: KubeObject | undefined) =>
        row?.metadata.uid !== uid || row.metadata.deletionTimestamp !== undefined
      return [until(world, ref.kind, keyOf({ metadata: ref }), isGone, signal)]
    }
    case 'bind': {
      const { pod, node } = action
      const target = { apiVersion: 'v1', kind: 'Node', name: node }
      const { name, namespace } = pod.metadata
      const body = { apiVersion: 'v1', kind: 'Binding', metadata: { name, namespace }, target }
      await client.request('POST', pathOf(pods, { name, namespace, subresource: 'binding' }), body, {
        signal,
      })
      return [until(world, pods, keyOf(pod), (row) => !row || hasNode(row), signal)]
    }
    case 'event':
      await tell(action, world, signal)
      return []
    default:
      return unreachable(action)
  }
}

const hasNode = (row: KubeObject) =>
  'spec' in row && typeof row.spec === 'object' && row.spec !== null && 'nodeName' in row.spec

function unlessGone(error: unknown): undefined {
  if (!isStatus(error, 404)) throw error
}

async function create(
  { of, object, owner }: Extract<Action, { kind: 'create' }>,
  world: World,
  signal: AbortSignal,
): Promise<KubeObject> {
  const { metadata } = object
  const generated = 'generateName' in metadata ? `${String(metadata.generateName)}${nameSuffix()}` : undefined
  const named = { ...object, metadata: { ...metadata, name: metadata.name ?? generated ?? '' } }
  try {
    const made = await world.client.create(of, named, { fieldManager, signal })
    if (owner && generated !== undefined)
      await tell(
        {
          kind: 'event',
          about: owner,
          type: 'Normal',
          reason: 'SuccessfulCreate',
          message: `Created ${of.kind.toLowerCase()}: ${generated}`,
        },
        world,
        signal,
      )
    return made
  } catch (error) {
    if (owner && !signal.aborted) {
      const failed = warning(owner, 'FailedCreate', `Error creating ${of.kind}: ${messageOf(error)}`)
      if (failed.kind === 'event') await tell(failed, world, signal)
    }
    throw error
  }
}

/** Events are remarks: one that cannot be written holds nothing up. */
async function tell(
  event: Extract<Action, { kind: 'event' }>,
  world: World,
  signal: AbortSignal,
): Promise<void> {
  await writeEvent(world.client, event, world.now(), signal).catch((error: unknown) => {
    if (!signal.aborted)
      world.log.debug('event not written', { reason: event.reason, error: messageOf(error) })
  })
}

function shown(world: World, kind: Kind, written: KubeObject, signal: AbortSignal): Promise<void> {
  const { uid, resourceVersion } = written.metadata
  const isThere = (row: KubeObject | undefined) =>
    row !== undefined &&
    (row.metadata.uid !== uid || isAtLeast(row.metadata.resourceVersion, resourceVersion))
  return until(world, kind, keyOf(written), isThere, signal)
}

/** Versions are numbers of one counter here; where they are not, only equality is known. */
function isAtLeast(seen: string | undefined, written: string | undefined): boolean {
  if (seen === undefined || written === undefined || seen === written) return true
  return /^\d+$/.test(seen) && /^\d+$/.test(written) && BigInt(seen) >= BigInt(written)
}

/** Resolves when the row is as hoped, or after `echoMs`. */
async function until(
  world: World,
  kind: Kind,
  key: string,
  is: (row: KubeObject | undefined) => boolean,
  signal: AbortSignal,
): Promise<void> {
  const collection = world.collections.get(kind.plural)
  if (!collection || is(collection.get(key))) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const deadline = within(echoMs, signal)
  deadline.addEventListener('abort', () => resolve(), { once: true })
  using _ = collection.subscribe((changes) => {
    if (changes.some((change) => change.key === key && is(change.row))) resolve()
  })
  if (deadline.aborted) return
  await promise
  if (deadline.aborted && !signal.aborted)
    world.log.warn('own write not seen in time', { kind: kind.kind, key })
}
