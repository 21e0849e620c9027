import { randomUUID } from 'node:crypto'
import { isRecord } from '#base'
import type { ApiRequest, Target } from '../rest/api.ts'
import { type KubeObject, recordAt, textAt, numberAt, listAt } from '../rest/object.ts'
import { type Cause, type Refusal, refuse } from '../rest/refusal.ts'
import type { Operation } from './matching.ts'

export type Question = Readonly<{
  operation: Operation
  object: KubeObject | undefined
  old: KubeObject | undefined
  dryRun: boolean
}>

/** The AdmissionReview v1 about a write. */
export function reviewOf({ user }: ApiRequest, target: Target, question: Question) {
  const { kind, namespace, name, subresource } = target
  const { group, version, plural } = kind
  const { operation, object, old, dryRun } = question
  const words = { kind: { group, version, kind: kind.kind }, resource: { group, version, resource: plural } }
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: randomUUID(),
      ...words,
      requestKind: words.kind,
      requestResource: words.resource,
      ...(subresource === undefined ? {} : { subResource: subresource, requestSubResource: subresource }),
      name: name ?? object?.metadata.name ?? '',
      ...(namespace === undefined ? {} : { namespace }),
      operation,
      userInfo: {
        username: user.username,
        groups: user.groups,
        ...(user.uid === undefined ? {} : { uid: user.uid }),
        ...(Object.keys(user.extra).length === 0 ? {} : { extra: user.extra }),
      },
      object: object ?? null,
      oldObject: old ?? null,
      dryRun,
      options: { apiVersion: 'meta.k8s.io/v1', kind: optionsOf[operation] },
    },
  }
}

const optionsOf = { CREATE: 'CreateOptions', UPDATE: 'UpdateOptions', DELETE: 'DeleteOptions' } as const

export type Verdict = Readonly<{ refusal: Refusal | undefined; warnings: readonly string[] }>

/** What a webhook answered; throws when it is no answer to this review. */
export function verdictOf(webhook: string, uid: string, answer: unknown): Verdict {
  const response = recordAt(answer, 'response')
  if (!isRecord(answer) || answer['apiVersion'] !== 'admission.k8s.io/v1' || response['uid'] !== uid)
    throw new Error('its answer is not one to this review')
  const warnings = listAt(response, 'warnings').filter((text) => typeof text === 'string')
  if (response['allowed'] === true) return { refusal: undefined, warnings }
  const status = recordAt(response, 'status')
  const message = textAt(status, 'message') ?? textAt(status, 'reason') ?? ''
  const denied = `admission webhook ${JSON.stringify(webhook)} denied the request`
  const causes = listAt(status, 'details', 'causes').flatMap(causeOf)
  const about = Object.entries(recordAt(status, 'details')).filter(
    ([field, value]) => ['name', 'group', 'kind'].includes(field) && typeof value === 'string',
  )
  const refusal = refuse(
    Math.max(numberAt(status, 'code') ?? 0, 400),
    textAt(status, 'reason') ?? '',
    message === '' ? `${denied} without explanation` : `${denied}: ${message}`,
    { ...Object.fromEntries(about), ...(causes.length === 0 ? {} : { causes }) },
  )
  return { refusal, warnings }
}

function causeOf(value: unknown): readonly Cause[] {
  const [reason = '', message = '', field] = ['reason', 'message', 'field'].map((name) => textAt(value, name))
  return message === '' ? [] : [{ reason, message, ...(field === undefined ? {} : { field }) }]
}
