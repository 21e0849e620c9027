type Facts = Readonly<{
  /** Who caused it. */
  side: 'downstream' | 'upstream' | 'control' | 'internal'
  /** May the same thing be tried again? `if-unsent` only when the thrower claims that no byte left. */
  retry: 'never' | 'if-unsent' | 'backoff'
  /** Istio's response flag, `-` for none (ztunnel: proxy/metrics.rs). */
  flag:
    | '-'
    | 'DENY'
    | 'CONNECT'
    | 'TLS_FAILURE'
    | 'H2_HANDSHAKE_FAILURE'
    | 'NETWORK_POLICY'
    | 'IDENTITY_ERROR'
    | 'CERT_REVOKED'
  /** What a CONNECT is answered with; undefined where the failure comes before HTTP. */
  status: 400 | 401 | 503 | undefined
}>

/** What follows from each code. The one table of failures: a code without a row does not compile. */
export const facts = {
  'bad-request': { side: 'downstream', retry: 'never', flag: '-', status: 400 },
  'policy-denied': { side: 'downstream', retry: 'never', flag: 'DENY', status: 401 },
  'connect-failed': { side: 'upstream', retry: 'if-unsent', flag: 'CONNECT', status: 503 },
  timeout: { side: 'upstream', retry: 'if-unsent', flag: 'CONNECT', status: 503 },
  'network-policy': { side: 'upstream', retry: 'if-unsent', flag: 'NETWORK_POLICY', status: 503 },
  'tls-failed': { side: 'upstream', retry: 'never', flag: 'TLS_FAILURE', status: undefined },
  'cert-revoked': { side: 'upstream', retry: 'never', flag: 'CERT_REVOKED', status: undefined },
  'h2-failed': { side: 'upstream', retry: 'if-unsent', flag: 'H2_HANDSHAKE_FAILURE', status: 503 },
  'http-status': { side: 'upstream', retry: 'never', flag: 'CONNECT', status: 503 },
  'identity-unavailable': { side: 'control', retry: 'backoff', flag: 'IDENTITY_ERROR', status: 503 },
  'no-workload': { side: 'control', retry: 'backoff', flag: 'CONNECT', status: 503 },
  'stale-state': { side: 'control', retry: 'backoff', flag: 'CONNECT', status: 503 },
  unavailable: { side: 'control', retry: 'backoff', flag: 'CONNECT', status: 503 },
  'no-upstream': { side: 'upstream', retry: 'never', flag: 'CONNECT', status: 503 },
  'self-call': { side: 'downstream', retry: 'never', flag: 'CONNECT', status: 503 },
  draining: { side: 'internal', retry: 'never', flag: 'CONNECT', status: 503 },
  'over-limit': { side: 'internal', retry: 'never', flag: 'CONNECT', status: 503 },
  /** Its time was over: it was idle, or open, for as long as it may be. */
  expired: { side: 'internal', retry: 'never', flag: '-', status: undefined },
  'syscall-failed': { side: 'internal', retry: 'never', flag: 'CONNECT', status: 503 },
  protocol: { side: 'downstream', retry: 'never', flag: 'CONNECT', status: 503 },
  'bad-config': { side: 'internal', retry: 'never', flag: '-', status: undefined },
} as const satisfies Record<string, Facts>

/** What went wrong; `facts` says what follows from it. */
export type Code = keyof typeof facts

type Options = { cause?: unknown; message?: string; unsent?: boolean; errno?: number }

/** A failure with a code. `unsent` is the thrower's claim that no byte left, so another endpoint may be tried. */
export class MeshError extends Error {
  readonly code: Code
  readonly unsent: boolean
  /** The system's errno where a Linux call failed, else undefined. */
  readonly errno: number | undefined
  constructor(code: Code, options: Options = {}) {
    super(options.message ?? code, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = 'MeshError'
    this.code = code
    this.unsent = options.unsent ?? false
    this.errno = options.errno
  }
}

/** May `error` be answered by trying again? Cancellations and bugs never may. */
export function isRetryable(error: unknown): boolean {
  if (!(error instanceof MeshError)) return false
  const { retry } = facts[error.code]
  return retry === 'backoff' || (retry === 'if-unsent' && error.unsent)
}
