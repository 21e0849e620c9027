import { isRecord } from '#base'

const refused: unique symbol = Symbol('refused')

export type Cause = Readonly<{ reason: string; message: string; field?: string }>
type Details = Readonly<{
  name?: string
  group?: string
  kind?: string
  uid?: string
  causes?: readonly Cause[]
  retryAfterSeconds?: number
}>

/** A "no" of the API: the Status object that is answered. The symbol keeps it apart from any stored object. */
export type Refusal = Readonly<{
  [refused]: true
  apiVersion: 'v1'
  kind: 'Status'
  metadata: Readonly<Record<string, unknown>>
  status: 'Failure'
  message: string
  reason: string
  details?: Details
  code: number
}>

/** Is it a no? */
export const isRefusal = (value: unknown): value is Refusal => isRecord(value) && refused in value

/** A Status with status Failure. */
export const refuse = (code: number, reason: string, message: string, details?: Details): Refusal => ({
  [refused]: true,
  apiVersion: 'v1',
  kind: 'Status',
  metadata: {},
  status: 'Failure',
  message,
  reason,
  ...(details === undefined ? {} : { details }),
  code,
})

/** What a refusal is about: a resource (`pods`, or `deployments` of `apps`) and its name. */
export type Subject = Readonly<{ group: string; plural: string; name?: string | undefined }>

const qualified = ({ group, plural }: Subject): string => (group === '' ? plural : `${plural}.${group}`)
const detailsOf = ({ group, plural, name }: Subject): Details => ({
  ...(name === undefined ? {} : { name }),
  ...(group === '' ? {} : { group }),
  kind: plural,
})

export const notFound = (subject: Subject): Refusal =>
  refuse(404, 'NotFound', `${qualified(subject)} "${subject.name ?? ''}" not found`, detailsOf(subject))

/** For paths that are no resource of this server; kubectl looks for this very sentence. */
export const noSuchPath = (): Refusal =>
  refuse(404, 'NotFound', 'the server could not find the requested resource')

export const alreadyExists = (subject: Subject): Refusal =>
  refuse(
    409,
    'AlreadyExists',
    `${qualified(subject)} "${subject.name ?? ''}" already exists`,
    detailsOf(subject),
  )

const staleMessage =
  'the object has been modified; please apply your changes to the latest version and try again'

export const conflict = (subject: Subject, message = staleMessage, causes?: readonly Cause[]): Refusal =>
  refuse(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualified(subject)} "${subject.name ?? ''}": ${message}`,
    { ...detailsOf(subject), ...(causes === undefined ? {} : { causes }) },
  )

/** Server-side apply's conflict has a sentence of its own, which kubectl prints. */
export const applyConflict = (subject: Subject, causes: readonly Cause[]): Refusal =>
  refuse(
    409,
    'Conflict',
    `Apply failed with ${causes.length} conflict${causes.length === 1 ? '' : 's'}: ${causes
      .map((cause) => `${cause.message}: ${cause.field ?? ''}`)
      .join('\n')}`,
    { ...detailsOf(subject), causes },
  )

export const badRequest = (message: string): Refusal => refuse(400, 'BadRequest', message)

export const forbidden = (subject: Subject, message: string): Refusal => {
  const name = subject.name === undefined ? '' : ` "${subject.name}"`
  return refuse(403, 'Forbidden', `${qualified(subject)}${name} is forbidden: ${message}`, detailsOf(subject))
}

/** 422: the object does not fit its schema or its kind's rules; one cause per field. */
export function invalid(
  kind: Readonly<{ group: string; kind: string }>,
  name: string,
  causes: readonly Cause[],
): Refusal {
  const about = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`
  const parts = causes.map((cause) => `${cause.field ?? ''}: ${cause.message}`)
  const text = parts.length === 1 ? parts.join('') : `[${parts.join(', ')}]`
  const group = kind.group === '' ? {} : { group: kind.group }
  return refuse(422, 'Invalid', `${about} "${name}" is invalid: ${text}`, {
    name,
    ...group,
    kind: kind.kind,
    causes,
  })
}

export const expired = (message: string): Refusal => refuse(410, 'Expired', message)

/** Success of a deletion that left nothing behind. */
export const deleted = (subject: Subject, uid: string | undefined): Readonly<Record<string, unknown>> => ({
  apiVersion: 'v1',
  kind: 'Status',
  metadata: {},
  status: 'Success',
  details: { ...detailsOf(subject), ...(uid === undefined ? {} : { uid }) },
})
