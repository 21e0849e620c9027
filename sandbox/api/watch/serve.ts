import type { ServerResponse } from 'node:http'
import type { Store } from '../store/index.ts'
import { follow, initialEvents, type WatchEvent, type WatchRequest } from './watch.ts'

/** A reader that lets more than this pile up is cut off; it comes back and resumes. */
const maxBufferedBytes = 16 * 1024 * 1024
/** How often a quiet watch is told the newest version (Kubernetes: about a minute). */
const bookmarkIntervalMs = 60_000

/** How a watch is told of, and for how long. */
export type ServeOptions = Readonly<{
  bookmarks: boolean
  timeoutMs: number
  /** Makes the text of one event; undefined leaves the event out. */
  encode: (event: WatchEvent) => string
  signal: AbortSignal
  bookmarkIntervalMs?: number
  maxBufferedBytes?: number
}>

/** Streams a watch until it times out, the client goes, falls too far behind, or the server stops. */
export function serveWatch(
  store: Store,
  request: WatchRequest,
  response: ServerResponse,
  options: ServeOptions,
): 'expired' | 'streaming' {
  const first = initialEvents(store, request)
  if (first === 'expired') return 'expired'
  const limit = options.maxBufferedBytes ?? maxBufferedBytes
  const write = (event: WatchEvent) => {
    if (response.writableEnded || response.destroyed) return
    const text = encoded(options.encode, event)
    if (text !== undefined) response.write(text)
    if (text === undefined || response.writableLength > limit) response.destroy()
  }
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' })
  // At once: a client that waits for the answer before it goes on would hang on a quiet resource.
  response.flushHeaders()
  // Not cut off while the first state is queued: a client cannot choose how much that is.
  for (const event of first) if (!response.destroyed) response.write(options.encode(event))
  const following = follow(store, request, write)
  const bookmark = () => write({ type: 'BOOKMARK', version: store.version, initialEnd: false })
  const ticking = options.bookmarks
    ? setInterval(bookmark, options.bookmarkIntervalMs ?? bookmarkIntervalMs)
    : undefined
  const finish = () => {
    if (options.bookmarks) bookmark()
    response.end()
  }
  const ending = setTimeout(finish, options.timeoutMs)
  const stop = () => response.end()
  options.signal.addEventListener('abort', stop, { once: true })
  response.once('close', () => {
    following[Symbol.dispose]()
    clearInterval(ticking)
    clearTimeout(ending)
    options.signal.removeEventListener('abort', stop)
  })
  response.once('error', () => response.destroy())
  return 'streaming'
}

/** An object that cannot be shown ends the watches that want it, and nothing else. */
function encoded(encode: ServeOptions['encode'], event: WatchEvent): string | undefined {
  try {
    return encode(event)
  } catch {
    return undefined
  }
}

/** One line of a watch whose objects go out as they are stored. */
export const plainLine = (type: string, text: string): string => `{"type":"${type}","object":${text}}\n`
