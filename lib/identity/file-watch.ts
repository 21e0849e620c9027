import { type FSWatcher, statSync, watch } from 'node:fs'
import { dirname } from 'node:path'

/** Which file, and who is told. */
export type FileWatchOptions = Readonly<{
  path: string
  /** The file may be another one now, or gone. Called at most once per `debounceMs`. */
  changed(): void
  signal: AbortSignal
  /** From the first sign of a change to `changed`: whoever writes in several steps is given the time (ztunnel: 2 s). */
  debounceMs?: number
  /** For file systems and mounts that report nothing. */
  pollMs?: number
}>

const defaultDebounceMs = 2_000
const defaultPollMs = 30_000

/** What a file is, through all symbolic links; undefined when there is none. */
function stampOf(path: string): string | undefined {
  try {
    const { dev, ino, mtimeMs, ctimeMs, size } = statSync(path)
    return [dev, ino, mtimeMs, ctimeMs, size].join(':')
  } catch {
    return undefined
  }
}

/**
 * Watches a file through its folder: the kubelet replaces a mounted ConfigMap by swapping a symbolic link beside it,
 * which leaves a watch of the file itself blind.
 */
export function watchFile(o: FileWatchOptions): void {
  const { path, changed, signal, debounceMs = defaultDebounceMs, pollMs = defaultPollMs } = o
  if (signal.aborted) return
  let folder: FSWatcher | undefined
  let seen = stampOf(path)
  let soon: NodeJS.Timeout | undefined
  const unwatch = () => {
    folder?.close()
    folder = undefined
  }
  const look = () => {
    soon = undefined
    // The folder may be a new one of the same name.
    unwatch()
    rewatch()
    const now = stampOf(path)
    if (now === seen) return
    seen = now
    changed()
  }
  const suspect = () => {
    soon ??= setTimeout(look, debounceMs).unref()
  }
  const rewatch = () => {
    try {
      folder = watch(dirname(path), { persistent: false }, suspect)
      folder.on('error', unwatch)
    } catch {
      unwatch() // no such folder, or no watch left: the poll goes on
    }
  }
  const poll = setInterval(() => {
    if (!folder || stampOf(path) !== seen) suspect()
  }, pollMs).unref()
  rewatch()
  signal.addEventListener(
    'abort',
    () => {
      clearInterval(poll)
      clearTimeout(soon)
      unwatch()
    },
    { once: true },
  )
}
