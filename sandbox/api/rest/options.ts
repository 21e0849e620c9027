import type { FieldValidation } from '../types/index.ts'
import { numberAt, recordAt, textAt } from './object.ts'
import { badRequest, type Refusal } from './refusal.ts'
import type { ApiRequest } from './api.ts'
import type { WriteOptions } from './write.ts'

const maxManagerLength = 128
const validations: readonly string[] = ['Strict', 'Warn', 'Ignore'] satisfies FieldValidation[]
const isValidation = (text: string): text is FieldValidation => validations.includes(text)

/** dryRun, fieldManager and fieldValidation of a write; the manager defaults to the client program's name. */
export function writeOptions({ query, headers }: ApiRequest): WriteOptions | Refusal {
  const fieldValidation = query.get('fieldValidation') || 'Warn'
  if (!isValidation(fieldValidation))
    return badRequest(`fieldValidation: Unsupported value: ${JSON.stringify(fieldValidation)}`)
  const dryRun = parseDryRun(query.getAll('dryRun'))
  if (typeof dryRun !== 'boolean') return dryRun
  const agent = headers['user-agent'] ?? 'unknown'
  const fieldManager = (query.get('fieldManager') || agent.split('/', 1)[0] || 'unknown').slice(
    0,
    maxManagerLength,
  )
  return { dryRun, fieldManager, fieldValidation }
}

function parseDryRun(values: readonly string[]): boolean | Refusal {
  const given = values.filter((value) => value !== '')
  const bad = given.find((value) => value !== 'All')
  return bad === undefined
    ? given.length > 0
    : badRequest(`dryRun: Unsupported value: ${JSON.stringify(bad)}`)
}

export type Propagation = 'Background' | 'Foreground' | 'Orphan'
export type DeleteOptions = Readonly<{
  dryRun: boolean
  propagation: Propagation | undefined
  gracePeriodSeconds: number | undefined
  uid: string | undefined
  resourceVersion: string | undefined
}>

/** DeleteOptions come in the body, in the query, or in both; the body wins. */
export function deleteOptions({ query }: ApiRequest, body: Record<string, unknown>): DeleteOptions | Refusal {
  const listed = Array.isArray(body['dryRun']) ? body['dryRun'].map(String) : query.getAll('dryRun')
  const dryRun = parseDryRun(listed)
  if (typeof dryRun !== 'boolean') return dryRun
  const propagation = textAt(body, 'propagationPolicy') ?? query.get('propagationPolicy') ?? undefined
  if (propagation !== undefined && !isPropagation(propagation))
    return badRequest(`invalid propagationPolicy: ${JSON.stringify(propagation)}`)
  const grace = numberAt(body, 'gracePeriodSeconds') ?? query.get('gracePeriodSeconds') ?? undefined
  const gracePeriodSeconds = grace === undefined ? undefined : Number(grace)
  if (gracePeriodSeconds !== undefined && !(Number.isInteger(gracePeriodSeconds) && gracePeriodSeconds >= 0))
    return badRequest('gracePeriodSeconds must be a non-negative integer')
  const orphan = body['orphanDependents'] ?? (query.get('orphanDependents') === 'true' || undefined)
  const preconditions = recordAt(body, 'preconditions')
  return {
    dryRun,
    propagation: propagation ?? (orphan === true ? 'Orphan' : undefined),
    gracePeriodSeconds,
    uid: textAt(preconditions, 'uid'),
    resourceVersion: textAt(preconditions, 'resourceVersion'),
  }
}

const propagations: readonly string[] = ['Background', 'Foreground', 'Orphan'] satisfies Propagation[]
const isPropagation = (text: string): text is Propagation => propagations.includes(text)
