import { facts, MeshError } from '#base'
import type { InboundTunnel } from '#hbone'

/** Answers what has not been answered; anything else is broken off. */
export function refuse(tunnel: InboundTunnel, error: unknown): void {
  const status = error instanceof MeshError ? facts[error.code].status : undefined
  try {
    tunnel.refuse(status ?? 503)
  } catch {
    tunnel.reset() // it was accepted already, or its connection is gone
  }
}
