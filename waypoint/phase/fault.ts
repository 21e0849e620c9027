import { sleep } from '#base'
import { drawFault } from '#routes'
import type { Answer, Call, Next, Phase } from './call.ts'
import { isGrpc, localReply } from './local-reply.ts'

/** What a rule does to requests on purpose. A delay is not part of the route's timeout (facts: l7.md §3.2). */
export const fault: Phase = (call, next) => {
  const rule = call.route && 'rule' in call.route ? call.route.rule : undefined
  return rule?.fault ? disturb(call, next, drawFault(rule.fault, call.parts.random)) : next(call)
}

async function disturb(
  call: Call,
  next: Next,
  { delayMs, abort }: ReturnType<typeof drawFault>,
): Promise<Answer> {
  if (delayMs > 0) {
    call.flags.push('DI')
    const gone = call.exchange.gone
    await sleep(delayMs, gone).catch(() => undefined)
    if (gone.aborted) return { kind: 'gone' }
  }
  if (!abort) return next(call)
  const details = 'fault_filter_abort'
  if (abort.kind === 'http')
    return localReply(call, { status: abort.status, body: 'fault filter abort', flag: 'FI', details })
  // Who does not speak gRPC is told in words (Envoy).
  if (!isGrpc(call)) return localReply(call, { status: 200, body: 'fault filter abort', flag: 'FI', details })
  const headers = {
    'content-type': 'application/grpc',
    'grpc-status': `${abort.status}`,
    'grpc-message': 'fault filter abort',
  }
  call.grpcStatus = `${abort.status}`
  return localReply(call, { status: 200, headers, flag: 'FI', details })
}
