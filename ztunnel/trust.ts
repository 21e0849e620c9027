import {
  type IdentityMetrics,
  type SpiffeId,
  type Trust,
  watchCrl,
  type WorkloadCertificate,
} from '#identity'
import type { Logger } from '#telemetry'
import type { Config } from './config.ts'

type TrustParts = Readonly<{
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
