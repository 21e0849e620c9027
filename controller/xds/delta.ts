import type { Published, View } from './snapshot.ts'

/** One client's subscription to one type. Replaced at each step, never edited. */
export type Subscription = Readonly<{
  /** Everything of the type; `asked` then only adds names to be sent once more. */
  wildcard: boolean
  /** Keys asked for by name. */
  asked: ReadonlySet<string>
  /**
   * Without wildcard: names that the client holds because of us. The one part that `respond` edits in place: a copy would
   * cost as much as the client has asked for, at every change of anything.
   */
  held: Set<string>
  /** Without wildcard: what is asked for became less, so who still wants what has to be counted again. */
  recount: boolean
  /** Names that changed since the last response. */
  dirty: ReadonlySet<string>
  /** Keys asked for that have not been answered yet. */
  unanswered: ReadonlySet<string>
  /** What the client brought along from an earlier stream; answered by the first response. */
  brought: ReadonlyMap<string, string> | undefined
  /** A response that must go out even if it is empty. */
  owed: boolean
  /** The nonce on its way, not yet acknowledged. */
  awaiting: string | undefined
}>

/** The parts of a DeltaDiscoveryRequest that decide. */
export type Request = Readonly<{
  subscribe: readonly string[]
  unsubscribe: readonly string[]
  versions: Readonly<Record<string, string>>
  nonce: string
  error: string | undefined
}>

export type Response = Readonly<{
  resources: readonly Published[]
  removed: readonly string[]
  /** The resources on the wire, where somebody has put them together already. */
  joined?: Uint8Array
}>
export type Note = 'subscribe' | 'ack' | 'nack' | 'stale'

const all = '*'
/** What a client brings along is asked for, as far as it could have asked for it; it is told to forget the rest. */
const maxResumed = 50_000
const nothing: ReadonlySet<string> = new Set()

/** The first request of a type on a stream. `always` are keys that the server adds for this client (its node). */
export function subscribed(request: Request, always: readonly string[] = []): Subscription {
  const { subscribe, unsubscribe, versions } = request
  // An empty first request is the old way to say wildcard; `*` both ways is how to begin with nothing (ztunnel, on demand).
  const wildcard =
    (subscribe.length === 0 && unsubscribe.length === 0) ||
    (subscribe.includes(all) && !unsubscribe.includes(all))
  const keys = subscribe.filter((key) => key !== all && !unsubscribe.includes(key))
  // ztunnel does not say again what it asked for on demand, only what it has: it goes on being told of that (as Istio does).
  const resumed = !wildcard && subscribe.includes(all) ? Object.keys(versions).slice(0, maxResumed) : []
  const asked = new Set(wildcard ? keys : [...always, ...keys, ...resumed])
  return {
    wildcard,
    asked,
    held: new Set(wildcard ? [] : Object.keys(versions)),
    recount: false,
    dirty: nothing,
    unanswered: asked,
    brought: new Map(Object.entries(versions)),
    owed: true,
    awaiting: undefined,
  }
}

/** Any later request: an answer to our response, a change of what is asked for, or both. */
export function requested(
  state: Subscription,
  request: Request,
): Readonly<{ state: Subscription; note: Note }> {
  const answer = request.nonce === '' ? undefined : request.nonce
  if (answer !== undefined && answer !== state.awaiting) {
    return { state: resubscribed(state, request), note: 'stale' }
  }
  const settled = answer === undefined ? state : { ...state, awaiting: undefined }
  const note = request.error !== undefined ? 'nack' : answer === undefined ? 'subscribe' : 'ack'
  return { state: resubscribed(settled, request), note }
}

function resubscribed(state: Subscription, { subscribe, unsubscribe }: Request): Subscription {
  if (subscribe.length === 0 && unsubscribe.length === 0) return state
  const asked = new Set(state.asked)
  const unanswered = new Set(state.unanswered)
  for (const key of subscribe) {
    if (key === all) continue
    asked.add(key)
    unanswered.add(key) // also when asked before: who asks again wants it again
  }
  for (const key of unsubscribe) {
    asked.delete(key)
    unanswered.delete(key)
  }
  const widened = !state.wildcard && subscribe.includes(all)
  const wildcard = (state.wildcard || widened) && !unsubscribe.includes(all)
  // Without their versions: all is sent, and what it has that is gone is told.
  const brought = widened ? new Map([...state.held].map((name) => [name, ''])) : state.brought
  const recount = state.recount || unsubscribe.length > 0
  return { ...state, wildcard, asked, unanswered, brought, recount, owed: state.owed || widened }
}

/** Something was published. */
export const changed = (state: Subscription, names: readonly string[]): Subscription => ({
  ...state,
  dirty: new Set([...state.dirty, ...names]),
})

/** Does it ask for what it was answered already? Nothing that a client needs: what changes comes unasked. */
export const isRepeated = (state: Subscription, { subscribe }: Request): boolean =>
  subscribe.some((key) =>
    key === all ? !state.wildcard : state.asked.has(key) && !state.unanswered.has(key),
  )

/** At most so many bytes has the next response; known without making it. */
export function mostBytes({ wildcard, brought, dirty, unanswered }: Subscription, view: View): number {
  if (wildcard && brought) return view.bytes
  const bytes = (names: readonly string[]) =>
    names.reduce((sum, name) => sum + (view.get(name)?.wire.length ?? 0), 0)
  return bytes([...dirty]) + [...unanswered].reduce((sum, key) => sum + bytes(view.answering(key)), 0)
}

/** What to send now, if anything may and must be sent. */
export function respond(
  state: Subscription,
  view: View,
  nonce: string,
): Readonly<{ state: Subscription; response: Response | undefined }> {
  if (state.awaiting !== undefined) return { state, response: undefined }
  const { held, ...response } = diffOf(state, view)
  const settled = { ...state, held, dirty: nothing, unanswered: nothing, brought: undefined, recount: false }
  if (response.resources.length === 0 && response.removed.length === 0 && !state.owed)
    return { state: settled, response: undefined }
  return { state: { ...settled, owed: false, awaiting: nonce }, response }
}

type Diff = Response & Readonly<{ held: Set<string> }>

function diffOf(state: Subscription, view: View): Diff {
  if (state.wildcard) return wildcardDiff(state, view)
  return state.brought || state.recount ? countedDiff(state, view) : askedDiff(state, view)
}

const present = (resource: Published | undefined): resource is Published => resource !== undefined

function wildcardDiff({ brought, dirty, unanswered }: Subscription, view: View): Diff {
  if (brought?.size === 0 && unanswered.size === 0) return { ...view.whole(), removed: [], held: new Set() }
  const again = [...unanswered].flatMap((key) => view.answering(key))
  const unknown = [...unanswered].filter((key) => view.answering(key).length === 0)
  if (brought) {
    const names = [...view.names()].filter((name) => view.get(name)?.version !== brought.get(name))
    const gone = [...brought.keys()].filter((name) => !view.get(name))
    return {
      resources: look([...names, ...again], view),
      removed: unique([...gone, ...unknown]),
      held: new Set(),
    }
  }
  const gone = [...dirty].filter((name) => !view.get(name))
  return {
    resources: look([...dirty, ...again], view),
    removed: unique([...gone, ...unknown]),
    held: new Set(),
  }
}

/** By going through all that the client asks for and has. */
function countedDiff({ asked, brought, dirty, held, unanswered }: Subscription, view: View): Diff {
  const wanted = new Set([...asked].flatMap((key) => view.answering(key)))
  const fresh = [...unanswered].flatMap((key) => view.answering(key))
  const news = [...wanted].filter((name) => dirty.has(name) || !held.has(name))
  const send = unique([...news, ...fresh]).filter((name) => {
    const version = brought?.get(name)
    return version === undefined || version !== view.get(name)?.version
  })
  // Also what is there and no longer its own: who is never told of a thing again must not go on with it as it was.
  const gone = [...held].filter((name) => !wanted.has(name))
  return {
    resources: look(send, view),
    removed: unique([...gone, ...unknownIn(unanswered, view)]),
    held: wanted,
  }
}

/** The same by looking only at what changed and at what was just asked for. */
function askedDiff({ asked, dirty, held, unanswered }: Subscription, view: View): Diff {
  const send = [...unanswered].flatMap((key) => view.answering(key))
  const gone: string[] = []
  for (const name of dirty) {
    const now = view.get(name)
    if (now?.keys.some((key) => asked.has(key))) send.push(name)
    else if (held.delete(name)) gone.push(name) // deleted, or it answers to nothing any more that is asked for
  }
  for (const name of send) held.add(name)
  return {
    resources: look(send, view),
    removed: unique([...gone, ...unknownIn(unanswered, view)]),
    held,
  }
}

/** Keys asked for that nothing answers to; the client is to know that. */
const unknownIn = (unanswered: ReadonlySet<string>, view: View): readonly string[] =>
  [...unanswered].filter((key) => !isServerKey(key) && view.answering(key).length === 0)

/** Keys that the server added are no business of the client's. */
const isServerKey = (key: string) => key.startsWith('node:')

const unique = (names: readonly string[]): string[] => [...new Set(names)].sort()
const look = (names: readonly string[], view: View): Published[] =>
  unique(names)
    .map((name) => view.get(name))
    .filter(present)
