import { MeshError } from '#base'
import { errorCode } from './frames.ts'
import { headersOf, type Message } from './fields.ts'
import type { Session } from './session.ts'
import type { OutboundTunnel } from './tunnel.ts'
import { TunnelStream } from './tunnel-stream.ts'

class Outbound extends TunnelStream implements OutboundTunnel {
  responseHeaders: ReadonlyMap<string, string> = new Map()
}

/** A CONNECT that another connection may serve: the peer has not looked at it (RFC 9113 §8.7), or is gone. */
type Unserved = Readonly<{ unserved: 'refused' | 'lost'; why: unknown }>

/** Sends CONNECT and waits for its answer. */
export async function openTunnel(
  session: Session,
  authority: string,
  headers: Readonly<Record<string, string>>,
  answerMs: number,
  signal: AbortSignal,
): Promise<OutboundTunnel | Unserved> {
  const fields = [[':method', 'CONNECT'], [':authority', authority], ...Object.entries(headers)] as const
  const tunnel = new Outbound(session, session.connection.open(fields))
  session.flush()
  try {
    const answered = await answerOf(tunnel, answerMs, signal)
    const status = Number(answered.status)
    if (status !== 200)
      throw new MeshError('http-status', {
        message: `http status: ${status}`,
        cause: { status },
        unsent: true,
      })
    tunnel.responseHeaders = headersOf(answered)
    return tunnel
  } catch (error) {
    // Whoever has answered has looked at it.
    if (!tunnel.stream.answered) {
      if (tunnel.resetCode === errorCode.refusedStream) return { unserved: 'refused', why: error }
      if (session.broke) return { unserved: 'lost', why: error }
    }
    tunnel.reset(errorCode.cancel)
    throw error
  }
}

function answerOf(tunnel: TunnelStream, answerMs: number, signal: AbortSignal): Promise<Message> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => settle(new MeshError('timeout', { message: 'no answer to CONNECT', unsent: true })),
      answerMs,
    )
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    const settle = (answer: Message | MeshError) => {
      clearTimeout(timer)
      tunnel.onResponse = undefined
      signal.removeEventListener('abort', onAbort)
      if (answer instanceof MeshError) reject(answer)
      else resolve(answer)
    }
    tunnel.onResponse = settle
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
