import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '#base'

/** What is wrong with an object: `path: sentence` each. Errors cannot work and are refused; warnings are only told. */
export type Findings = Readonly<{ errors: readonly string[]; warnings: readonly string[] }>

export type Reviewed = Readonly<{
  group: string
  kind: string
  /** Names the object for readers. */
  name: string
  object: Readonly<{ metadata: Readonly<{ name: string; namespace: string }>; spec?: unknown }>
}>

/** Undefined: a kind that we do not read. */
export type Judge = (reviewed: Reviewed) => Findings | undefined

export type Request = Readonly<{
  uid: string
  version: string
  resource: string
  reviewed: Reviewed
  /** Why it is let through unread, if it is. */
  exempt: 'no-write' | 'unchanged' | 'leaving' | undefined
}>

const apiVersion = 'admission.k8s.io/v1'
/** Of Kubernetes' names none is longer; they stand in log lines, and anybody can send any. */
const maxName = 253
const textOf = (value: unknown): string => (typeof value === 'string' ? value.slice(0, maxName) : '')
const recordOf = (value: unknown): Readonly<Record<string, unknown>> => (isRecord(value) ? value : {})

/** An AdmissionReview v1 as we need it; undefined when it is none. */
export function parseReview(value: unknown): Request | undefined {
  if (!isRecord(value) || value['apiVersion'] !== apiVersion || !isRecord(value['request'])) return undefined
  const { uid, kind, resource, operation, object, oldObject, namespace, name } = value['request']
  if (typeof uid !== 'string' || uid === '' || !isRecord(kind)) return undefined
  const written = recordOf(object)
  const metadata = recordOf(written['metadata'])
  // A generated name and a namespace from the path may not be in the object yet.
  const placed = {
    ...metadata,
    name: textOf(metadata['name']) || textOf(name),
    namespace: textOf(metadata['namespace']) || textOf(namespace),
  }
  const unchanged = isRecord(oldObject) && isDeepStrictEqual(oldObject['spec'], written['spec'])
  return {
    uid,
    version: textOf(kind['version']),
    resource: textOf(recordOf(resource)['resource']),
    reviewed: {
      group: textOf(kind['group']),
      kind: textOf(kind['kind']),
      name: [placed.namespace, placed.name].filter((part) => part !== '').join('/'),
      object: { ...written, metadata: placed },
    },
    exempt:
      operation !== 'CREATE' && operation !== 'UPDATE'
        ? 'no-write'
        : metadata['deletionTimestamp'] !== undefined
          ? 'leaving'
          : unchanged
            ? 'unchanged'
            : undefined,
  }
}

/** With it Istio's own controller asks whether the webhook is at work: the answer is always no. */
const alwaysReject = 'internal.istio.io/webhook-always-reject'

/** Is it that question? It is no mistake of anybody's, and not worth a line or a count. */
export const isTrial = ({ reviewed }: Request): boolean =>
  recordOf(recordOf(reviewed.object.metadata)['annotations'])[alwaysReject] !== undefined

/** What we find in the request. Labels of a bad object can still be changed, and it can always be deleted. */
export function judge(request: Request, by: Judge): Findings {
  const { reviewed, exempt } = request
  const none = { errors: [], warnings: [] }
  if (isTrial(request))
    return { ...none, errors: [`metadata.annotations: ${alwaysReject} asks for this refusal`] }
  return exempt === undefined ? (by(reviewed) ?? none) : none
}

/** Kubernetes cuts warnings at 256 characters, and all of them together at 4096. */
const maxWarning = 256
const maxWarnings = 16
const maxMessage = 4096
const maxCauses = 32

/** The AdmissionReview that is answered. */
export function answerReview({ uid, reviewed }: Request, { errors, warnings }: Findings) {
  const told = warnings.slice(0, maxWarnings).map((warning) => warning.slice(0, maxWarning))
  const beside = told.length === 0 ? {} : { warnings: told }
  const response =
    errors.length === 0
      ? { uid, allowed: true, ...beside }
      : {
          uid,
          allowed: false,
          status: {
            code: 422,
            reason: 'Invalid',
            message: `${reviewed.kind} ${reviewed.name}: ${errors.join('; ')}`.slice(0, maxMessage),
            details: {
              name: reviewed.object.metadata.name,
              group: reviewed.group,
              kind: reviewed.kind,
              causes: errors.slice(0, maxCauses).map(causeOf),
            },
          },
          ...beside,
        }
  return { apiVersion, kind: 'AdmissionReview', response }
}

function causeOf(error: string) {
  const [, field, message] = /^(\S+?): (.*)$/s.exec(error) ?? []
  return { reason: 'FieldValueInvalid', field: field ?? 'spec', message: message ?? error }
}
