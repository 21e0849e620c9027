import { isRecord, MeshError } from '#base'

/** The API server said no, or could not be reached (`status` 0). */
export class KubeError extends MeshError {
  /** HTTP status, 0 when there was no answer. */
  readonly status: number
  /** Kubernetes' machine-readable reason such as `NotFound`, `Conflict`, `Expired`; empty without one. */
  readonly reason: string
  constructor(status: number, reason: string, message: string, cause?: unknown) {
    // Only what may be different next time is worth a retry: overload, server faults, no answer.
    const transient = status === 0 || status === 429 || status >= 500
    super(transient ? 'unavailable' : 'bad-request', { message, ...(cause === undefined ? {} : { cause }) })
    this.name = 'KubeError'
    this.status = status
    this.reason = reason
  }
}

/** A `Status` object (or anything else that came with an HTTP error) as an error. */
export function errorFromStatus(status: number, body: unknown): KubeError {
  const said = isRecord(body) ? body : {}
  const reason = typeof said['reason'] === 'string' ? said['reason'] : ''
  const message = typeof said['message'] === 'string' ? said['message'] : `API server answered ${status}`
  return new KubeError(status, reason, message)
}

/** Is `error` an API error with this HTTP status? */
export const isStatus = (error: unknown, status: number): error is KubeError =>
  error instanceof KubeError && error.status === status
