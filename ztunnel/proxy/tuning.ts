import type { KeepAlive } from '#linux'

/** What may be set about connections; ztunnel's defaults are in config.ts. */
export type Tuning = Readonly<{
  /** Tell the peer's proxy who we are, and believe in telemetry what other networks say (ENABLE_RESPONSE_BAGGAGE). */
  baggage: boolean
  /** An app that wants PROXY headers is dialled at its loopback (LOCALHOST_APP_TUNNEL). */
  loopbackTunnel: boolean
  /** A connection on which nothing moves for so long is ended; 0: never. Ours. */
  idleMs: number
  /** How long a dial may take (CONNECT_TIMEOUT). Ours. */
  dialMs: number
  /** How long a connection waits for the record of its own pod (WORKLOAD_TIMEOUT). Ours. */
  workloadMs: number
  /** Of every socket, accepted or dialled (KEEPALIVE_*, USER_TIMEOUT_ENABLED); undefined: silent peers are never asked. */
  keepAlive: KeepAlive | undefined
}>
