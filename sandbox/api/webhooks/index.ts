import { messageOf } from '#base'
import type { Answer, Api, ApiRequest, Target } from '../rest/api.ts'
import { isApply } from '../rest/patch.ts'
import { asObject, type KubeObject } from '../rest/object.ts'
import { badRequest, conflict, isRefusal, type Refusal, refuse } from '../rest/refusal.ts'
import { served } from '../rest/write.ts'
import { subjectOf } from '../rest/api.ts'
import { callWebhook } from './call.ts'
import { type Operation, type Webhook, webhooksFor } from './matching.ts'
import { type Question, reviewOf, type Verdict, verdictOf } from './review.ts'

type Write = (request: ApiRequest) => Answer

/** Reviews under way at one time; those beyond fail like a webhook that does not answer. */
const maxReviews = 64
/** A write that others overtook while it was reviewed is reviewed again. */
const maxRounds = 4
const underWay = new WeakMap<Api, { count: number }>()

/**
 * A write as validating webhooks allow it. What would be written is found by a dry run, shown to them, and written if
 * nothing changed meanwhile. Collections are deleted unreviewed; a generated name is another in the review.
 */
export async function reviewedWrite(
  api: Api,
  request: ApiRequest,
  target: Target,
  write: Write,
  signal: AbortSignal,
): Promise<Answer> {
  for (let round = 0; round < maxRounds; round++) {
    const old = liveOf(api, target)
    const operation = operationOf(request, target, old)
    if (operation === undefined) return write(request)
    const trial = operation === 'DELETE' ? undefined : write(dryRunOf(request))
    if (trial !== undefined && isRefusal(trial)) return trial
    const object = trial === undefined ? undefined : asObject(trial.body)
    const webhooks = webhooksFor(api, target, operation, [object, old])
    if (webhooks.length === 0) return write(request)
    const dryRun = request.query.getAll('dryRun').includes('All')
    const shown = { operation, object, old: old && served(target.kind, old), dryRun }
    const verdicts = await Promise.all(
      webhooks.map((webhook) => ask(api, webhook, request, target, shown, signal)),
    )
    const refused = verdicts.find(({ refusal }) => refusal !== undefined)
    if (refused?.refusal !== undefined) return refused.refusal
    if (liveOf(api, target)?.metadata.resourceVersion !== old?.metadata.resourceVersion) continue
    const answer = write(request)
    const warnings = verdicts.flatMap((verdict) => verdict.warnings)
    return isRefusal(answer) ? answer : { ...answer, warnings: [...(answer.warnings ?? []), ...warnings] }
  }
  return conflict(subjectOf(target))
}

const liveOf = (api: Api, { resource, namespace, name }: Target): KubeObject | undefined =>
  name === undefined ? undefined : api.store.get(resource, namespace ?? '', name)

/** Undefined: nothing that a webhook is asked about. */
function operationOf(
  request: ApiRequest,
  { kind, name, subresource }: Target,
  old: KubeObject | undefined,
): Operation | undefined {
  if (kind.virtual || (subresource !== undefined && subresource !== 'status')) return undefined
  switch (request.method) {
    case 'POST':
      return name === undefined ? 'CREATE' : undefined
    case 'PUT':
      return old && 'UPDATE'
    case 'PATCH':
      return old ? 'UPDATE' : isApply(request) && subresource === undefined ? 'CREATE' : undefined
    case 'DELETE':
      return old && 'DELETE'
    default:
      return undefined
  }
}

function dryRunOf(request: ApiRequest): ApiRequest {
  const query = new URLSearchParams(request.query)
  query.set('dryRun', 'All')
  return { ...request, query }
}

async function ask(
  api: Api,
  webhook: Webhook,
  request: ApiRequest,
  target: Target,
  question: Question,
  signal: AbortSignal,
): Promise<Verdict> {
  const { name } = webhook
  if (question.dryRun && !webhook.dryRun) {
    const refusal = badRequest(`admission webhook ${JSON.stringify(name)} does not support dry run`)
    return { refusal, warnings: [] }
  }
  const reviews = underWay.get(api) ?? { count: 0 }
  underWay.set(api, reviews)
  if (reviews.count >= maxReviews) return failed(api, webhook, 'too many reviews are under way')
  reviews.count++
  try {
    const review = reviewOf(request, target, question)
    return verdictOf(name, review.request.uid, await callWebhook(api, webhook, review, signal))
  } catch (error) {
    return failed(api, webhook, messageOf(error))
  } finally {
    reviews.count--
  }
}

function failed(api: Api, { name, failurePolicy }: Webhook, why: string): Verdict {
  api.log.warn('webhook failed', { webhook: name, failurePolicy, error: why })
  return { refusal: failurePolicy === 'Ignore' ? undefined : notAsked(name, why), warnings: [] }
}

const notAsked = (name: string, why: string): Refusal =>
  refuse(
    500,
    'InternalError',
    `Internal error occurred: failed calling webhook ${JSON.stringify(name)}: failed to call webhook: ${why}`,
  )
