import type { Logger } from '#telemetry'
import { rootFileOf, rootsOf } from './credentials.ts'
import { watchFile } from './file-watch.ts'

/** Which roots, and whose certificates hang on them. */
export type RootParts = Readonly<{
  config: Readonly<{ ca: Readonly<{ root: string }> }>
  certificates: Readonly<{ refreshAll(): void }>
  log: Pick<Logger, 'info'>
  signal: AbortSignal
  debounceMs?: number
}>

/**
 * Workloads believe in the roots that came with their certificates. When the mesh's roots change, all of them are
 * fetched anew at once: a root that was taken away must not be believed until half-life.
 */
export function renewOnNewRoots({ config, certificates, log, ...rest }: RootParts): void {
  const path = rootFileOf(config.ca.root)
  if (path === undefined) return
  let known = contentOf(path)
  const changed = () => {
    const found = contentOf(path)
    if (found === undefined || found === known) return
    known = found
    log.info('the roots of the mesh have changed, certificates are renewed', { path })
    certificates.refreshAll()
  }
  watchFile({ path, changed, ...rest })
}

/** Undefined while there is no such file: that says nothing about the roots. */
function contentOf(path: string): string | undefined {
  try {
    return rootsOf(path)
  } catch {
    return undefined
  }
}
