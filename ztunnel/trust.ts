import {
  type IdentityMetrics,
  type SpiffeId,
  type Trust,
  watchCrl,
  watchFile,
  type WorkloadCertificate,
} from '#identity'
import type { Logger } from '#telemetry'
import type { Config } from './config.ts'
import { rootFileOf, rootsOf } from './credentials.ts'

export type TrustParts = Readonly<{
  config: Pick<Config, 'crlPath' | 'keyExchange'>
  certificates: Readonly<{ current(id: SpiffeId): WorkloadCertificate | undefined }>
  metrics: IdentityMetrics
  log: Logger
  signal: AbortSignal
}>

/** What every handshake of this thread, and every open connection, is judged by. */
export const trustOf = ({ config, certificates, metrics, log, signal }: TrustParts): Trust => ({
  current: (id) => certificates.current(id),
  revocations: config.crlPath ? watchCrl({ path: config.crlPath, log, metrics, signal }) : undefined,
  keyExchange: config.keyExchange,
  metrics,
})

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
