import { HeaderList } from '#http'
import type { Answer, Call } from './call.ts'

type Local = Readonly<{
  status: number
  body?: string | Buffer
  flag?: string
  details: string
  headers?: Readonly<Record<string, string>>
}>

/** An answer of our own, as Envoy gives it (facts: l7.md §3.3). */
export function localReply(call: Call, { status, body = '', flag, details, headers = {} }: Local): Answer {
  if (flag !== undefined) call.flags.push(flag)
  call.details = details
  return { kind: 'local', status, headers: HeaderList.of(headers), body }
}

/** Why there is no answer of the upstream, in Envoy's words. */
export type ResetWords = Readonly<{ reason: string; flag: string; status?: number }>

/**
 * `upstream connect error …`: what is told of an upstream that gave no answer. Why a connection could not be made is for
 * the access log alone: it names addresses that are no business of clients (Envoy does the same).
 */
export function upstreamFailure(call: Call, { reason, flag, status = 503 }: ResetWords): Answer {
  const transport = call.transportFailure
  const latest = call.tries > 1 ? 'retried and the latest reset reason' : 'reset reason'
  const inBraces = transport === undefined ? reason : `${reason}|${transport}`
  return localReply(call, {
    status,
    flag,
    body: `upstream connect error or disconnect/reset before headers. ${latest}: ${reason}`,
    details: `upstream_reset_before_response_started{${inBraces.replaceAll(' ', '_')}}`,
    ...(flag === 'UO' ? { headers: { 'x-envoy-overloaded': 'true' } } : {}),
  })
}

const grpcType = 'application/grpc'

/** Is the caller one of gRPC, who looks for the outcome in `grpc-status`? */
export const isGrpc = (call: Call): boolean => call.isGrpc

export const isGrpcType = (type: string | undefined): boolean =>
  type !== undefined &&
  (type === grpcType || type.startsWith(`${grpcType}+`) || type.startsWith(`${grpcType};`))

/** What an HTTP status is in gRPC (facts: l7.md §3.3). */
export const grpcStatusOf = (status: number): number =>
  new Map([
    [400, 13],
    [401, 16],
    [403, 7],
    [404, 12],
    [429, 14],
    [502, 14],
    [503, 14],
    [504, 14],
  ]).get(status) ?? 2

/** The outcome of a call of gRPC: what was said of it, or what the status of HTTP makes of it (Envoy); '' for none. */
export function grpcOutcome({ isGrpc, grpcStatus, status }: Call): string {
  if (!isGrpc) return ''
  return grpcStatus ?? (status > 0 ? `${grpcStatusOf(status)}` : '')
}

/** `grpc-message` has its own escapes. */
export const grpcMessage = (text: string): string =>
  text.replaceAll(/[^\x20-\x24\x26-\x7e]/g, (c) =>
    [...Buffer.from(c)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  )
