import { type Cors, corsJudge } from '#routes'
import type { Answer, Phase, Reply } from './call.ts'
import { localReply } from './local-reply.ts'

const judges = new WeakMap<Cors, ReturnType<typeof corsJudge>>()

function judgeOf(cors: Cors): ReturnType<typeof corsJudge> {
  const known = judges.get(cors)
  if (known) return known
  const made = corsJudge(cors)
  judges.set(cors, made)
  return made
}

/** Preflights of a rule with CORS are answered here; other answers get what the browser wants to see. */
export const cors: Phase = (call, next) => {
  const rule = call.route && 'rule' in call.route ? call.route.rule : undefined
  if (!rule?.cors) return next(call)
  const decision = judgeOf(rule.cors)(call.request)
  if (decision.kind === 'none') return next(call)
  if (decision.kind === 'answer')
    return localReply(call, {
      status: decision.status,
      headers: Object.fromEntries(decision.headers),
      details: 'cors_response',
    })
  return withHeaders(next(call), decision.headers)
}

async function withHeaders(reply: Reply, headers: Iterable<readonly [string, string]>): Promise<Answer> {
  const answer = await reply
  if (answer.kind !== 'gone') for (const [name, value] of headers) answer.headers.set(name, value)
  return answer
}
