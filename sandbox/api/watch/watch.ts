import type { Selector, Store, StoreEvent } from '../store/index.ts'
import type { KubeObject } from '../rest/object.ts'

/** What one watch sees of the store. */
export type WatchEvent =
  | Readonly<{ type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: KubeObject }>
  | Readonly<{ type: 'BOOKMARK'; version: number; initialEnd: boolean }>

/**
 * Pure: a change as a watch with this selector sees it. An object that stops matching is DELETED in its last
 * matching state, at the version of the change (Kubernetes: watch cache).
 */
export function selectEvent(event: StoreEvent, selects: Selector): WatchEvent | undefined {
  const { type, object, previous } = event
  const was = previous !== undefined && selects(previous)
  if (type === 'DELETED') return was ? { type, object } : undefined
  const is = selects(object)
  if (is) return { type: was ? 'MODIFIED' : 'ADDED', object }
  if (!was) return undefined
  const { resourceVersion } = object.metadata
  const metadata =
    resourceVersion === undefined ? previous.metadata : { ...previous.metadata, resourceVersion }
  return { type: 'DELETED', object: { ...previous, metadata } }
}

/** Where a watch begins. `now`: no past; `state`: everything there is first; a number: after that version. */
export type WatchStart =
  | Readonly<{ kind: 'state'; bookmark: boolean }>
  | Readonly<{ kind: 'now' }>
  | Readonly<{ kind: 'after'; version: number }>

/** What a watch is about, and where it begins. */
export type WatchRequest = Readonly<{
  resource: string
  namespace: string | undefined
  selects: Selector
  start: WatchStart
}>

/** The events that a watch begins with, or 'expired' when the past it asks for is forgotten. */
export function initialEvents(
  store: Store,
  { resource, namespace, selects, start }: WatchRequest,
): readonly WatchEvent[] | 'expired' {
  switch (start.kind) {
    case 'now':
      return []
    case 'state': {
      const added = store
        .list(resource, namespace)
        .filter(selects)
        .map((object): WatchEvent => ({ type: 'ADDED', object }))
      return start.bookmark
        ? [...added, { type: 'BOOKMARK', version: store.version, initialEnd: true }]
        : added
    }
    case 'after': {
      const past = store.since(resource, start.version)
      if (past === 'expired') return 'expired'
      return past
        .filter((event) => inNamespace(event, namespace))
        .map((event) => selectEvent(event, selects))
        .filter((event) => event !== undefined)
    }
  }
}

const inNamespace = ({ object }: StoreEvent, namespace: string | undefined): boolean =>
  namespace === undefined || object.metadata.namespace === namespace

/** Calls `onEvent` for each change that the watch sees from now on. */
export const follow = (
  store: Store,
  request: WatchRequest,
  onEvent: (event: WatchEvent) => void,
): Disposable =>
  store.subscribe((change) => {
    if (!inNamespace(change, request.namespace)) return
    const event = selectEvent(change, request.selects)
    if (event !== undefined) onEvent(event)
  }, request.resource)
