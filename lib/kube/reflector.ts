import { isDeepStrictEqual } from 'node:util'
import { backoffMs, MeshError, messageOf, sleep } from '#base'
import type { Logger } from '#telemetry'
import { type Change, type Collection, Table } from './collection.ts'
import { keyOf, type Kind } from './kinds.ts'
import type { KubeClient, Selection, WatchEvent } from './kube-client.ts'
import { KubeError } from './kube-error.ts'
import type { KubeObject } from './objects.ts'
import { afterEnd, afterFailure, firstAttempt } from './reflect-attempts.ts'

/** Which objects, and until when. */
export type ReflectOptions<T extends KubeObject = KubeObject> = Selection &
  Readonly<{
    signal: AbortSignal
    log?: Logger
    /** Silence after which a watch is taken for dead; API servers send a bookmark about every minute. */
    inactivityMs?: number
    /** The kind may not exist (a CRD that is not installed): then there are no rows, and it is asked for again later. */
    optional?: boolean
    /** So long such a kind must be missing before rows that are held of it are given up. */
    forgetMs?: number
    /** First wait after a failure; doubled to 30 s. */
    baseMs?: number
    random?: () => number
    /**
     * What is held of an object: the fields that somebody reads. A change of others alone is then told to nobody. Must be
     * pure and take garbage. Who wrote which field (`managedFields`) is never held.
     */
    trim?: (object: T) => T
    /**
     * What exists comes as events of the watch (WatchList) instead of as pages of a list: the server keeps no copy of it
     * for us, and it is as new as the watch. A server that does not offer it is listed.
     */
    streamed?: boolean
  }>

const capMs = 10_000
/** How long a server may keep one watch open; jittered so that watches do not all return together. */
const watchSeconds = 300
/** Between questions for a kind that does not exist. */
const absentMs = 15_000
/**
 * An API server that starts, or something in front of it, may say for a while that a kind does not exist which does; without
 * its policies a mesh would be open. Of one that is really deleted its objects are deleted before, and the watch tells.
 */
const defaultForgetMs = 300_000

/** The objects of a kind as a collection: listed, then watched, for as long as the signal allows. */
export function reflect<T extends KubeObject>(
  client: KubeClient,
  kind: Kind<T>,
  options: ReflectOptions<T>,
): Collection<T> {
  const table = new Table<T>(kind.plural)
  void run(client, kind, table, options).catch((error: unknown) => {
    if (!options.signal.aborted)
      options.log?.error('reflector ended', { kind: kind.kind, error: messageOf(error) })
  })
  return table.collection
}

/** Failures never touch the held rows: stale is better than empty. */
async function run<T extends KubeObject>(
  client: KubeClient,
  kind: Kind<T>,
  table: Table<T>,
  options: ReflectOptions<T>,
): Promise<void> {
  const { signal, log, baseMs = 500, random = Math.random } = options
  const rules = { optional: options.optional === true, forgetMs: options.forgetMs ?? defaultForgetMs }
  let attempts = firstAttempt(options.streamed === true)
  while (!signal.aborted) {
    const heard: Heard<T> = { version: attempts.version, any: false }
    const startedMs = performance.now()
    try {
      if (attempts.version === undefined && attempts.streamed) heard.initial = new Map()
      else heard.version ??= await relist(client, kind, table, options)
      await follow(client, kind, table, options, heard)
      if (heard.initial) throw new KubeError(0, '', `watch of ${kind.plural}: ended before all was told`)
      // A server that ends watches at once must not be asked in a tight loop.
      if (!heard.any) await sleep(backoffMs(1, { baseMs, random }), signal)
      attempts = afterEnd(attempts, heard.version)
    } catch (error) {
      if (signal.aborted) return
      const nowMs = performance.now()
      const { version, any, initial } = heard
      const holds = table.keys().length > 0
      const facts = {
        error,
        version,
        any,
        unfinished: initial !== undefined,
        lastedMs: nowMs - startedMs,
        nowMs,
        holds,
      }
      const next = afterFailure(attempts, facts, rules)
      attempts = next.attempts
      const said = { kind: kind.kind, error: messageOf(error) }
      if (next.kind === 'list') log?.debug('is listed: the API server does not stream it', said)
      else if (next.kind === 'absent') {
        log?.debug('kind does not exist', { kind: kind.kind })
        hold(table, new Map())
        await sleep(backoffMs(1, { baseMs: absentMs, capMs: absentMs, random }), signal)
      } else {
        const { failures } = attempts
        log?.[next.quiet ? 'debug' : 'warn']('watch interrupted', { ...said, failures })
        if (next.wait) await sleep(backoffMs(failures, { baseMs, capMs, random }), signal)
      }
    }
  }
}

/** How far a watch got, also when it fails. `initial`: what exists, as far as it has been told; nothing is known before its end. */
type Heard<T> = { version: string | undefined; any: boolean; initial?: Map<string, T> }

/** Lists everything and turns the difference to what is held into changes. No more than a page is held untrimmed. */
async function relist<T extends KubeObject>(
  client: KubeClient,
  kind: Kind<T>,
  table: Table<T>,
  { signal, trim, ...selection }: ReflectOptions<T>,
): Promise<string> {
  const rows = new Map<string, T>()
  for (let next = ''; ; ) {
    const page = await client.page(kind, selection, next, signal)
    // Something between us and the API server answered, not it; its empty answer must not empty the table.
    if (page.resourceVersion === '') throw new KubeError(0, '', `list of ${kind.plural}: has no version`)
    for (const item of page.items) rows.set(keyOf(item), trimmed(item, trim))
    if (page.continue === '') {
      hold(table, rows)
      return page.resourceVersion
    }
    next = page.continue
  }
}

function trimmed<T extends KubeObject>(object: T, trim: ((object: T) => T) | undefined): T {
  if (trim) return trim(object)
  if (!('managedFields' in object.metadata)) return object
  const { managedFields: _, ...metadata } = object.metadata
  return { ...object, metadata }
}

function hold<T extends KubeObject>(table: Table<T>, rows: ReadonlyMap<string, T>): void {
  const gone = table.keys().filter((key) => !rows.has(key))
  table.apply([
    ...gone.map((key) => ({ key, old: table.get(key), row: undefined })),
    ...[...rows].map(([key, row]) => ({ key, old: table.get(key), row })).filter(isChange),
  ])
  table.markSynced()
}

function isChange<T extends KubeObject>({ old, row }: Change<T>): boolean {
  if (old === undefined || row === undefined) return old !== row
  const { uid, resourceVersion } = row.metadata
  if (
    resourceVersion !== undefined &&
    old.metadata.resourceVersion === resourceVersion &&
    old.metadata.uid === uid
  )
    return false
  return !isDeepStrictEqual(old, row)
}

/** Takes events in until the watch ends. */
async function follow<T extends KubeObject>(
  client: KubeClient,
  kind: Kind<T>,
  table: Table<T>,
  { inactivityMs = 90_000, random = Math.random, trim, ...options }: ReflectOptions<T>,
  heard: Heard<T>,
): Promise<void> {
  const silence = new AbortController()
  const timer = setTimeout(() => {
    silence.abort(new MeshError('timeout', { message: `nothing heard for ${inactivityMs} ms` }))
  }, inactivityMs)
  try {
    const events = client.watch(kind, {
      ...options,
      initial: heard.initial !== undefined,
      resourceVersion: heard.version ?? '',
      timeoutSeconds: Math.round(watchSeconds * (0.9 + 0.2 * random())),
      signal: AbortSignal.any([options.signal, silence.signal]),
    })
    for await (const batch of events) {
      timer.refresh()
      heard.any ||= batch.some(({ type }) => type !== 'ERROR')
      takeIn(table, kind, batch, heard, trim)
    }
  } finally {
    clearTimeout(timer)
  }
}

/** What exists is known only now; until then what was held before stays. */
function endOfInitial<T extends KubeObject>(
  table: Table<T>,
  kind: Kind<T>,
  { initialEnd, resourceVersion }: Extract<WatchEvent<T>, { type: 'BOOKMARK' }>,
  heard: Heard<T>,
): void {
  if (!heard.initial) return
  // A server that does not know the parameter watches as ever; its first bookmark tells.
  if (!initialEnd) throw new KubeError(400, '', `${kind.plural}: what exists is not streamed`)
  if (resourceVersion === '') throw new KubeError(0, '', `watch of ${kind.plural}: has no version`)
  hold(table, heard.initial)
  delete heard.initial
}

/** One batch as changes; several events of one object become one. Throws the error that the server sent, after the rest. */
function takeIn<T extends KubeObject>(
  table: Table<T>,
  kind: Kind<T>,
  batch: readonly WatchEvent<T>[],
  heard: Heard<T>,
  trim: ReflectOptions<T>['trim'],
): void {
  const rows = new Map<string, T | undefined>()
  let failure: KubeError | undefined
  for (const event of batch) {
    switch (event.type) {
      case 'ERROR':
        failure ??= event.error
        break
      case 'BOOKMARK':
        endOfInitial(table, kind, event, heard)
        if (event.resourceVersion !== '') heard.version = event.resourceVersion
        break
      default: {
        const { apiVersion, kind: name } = kind
        const key = keyOf(event.object)
        const row =
          event.type === 'DELETED' ? undefined : trimmed({ ...event.object, apiVersion, kind: name }, trim)
        if (heard.initial) {
          if (row) heard.initial.set(key, row)
          else heard.initial.delete(key)
          break
        }
        rows.set(key, row)
        heard.version = event.object.metadata.resourceVersion ?? heard.version
      }
    }
  }
  table.apply([...rows].map(([key, row]) => ({ key, old: table.get(key), row })).filter(isChange))
  if (failure) throw failure
}
