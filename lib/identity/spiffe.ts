import type { Brand } from '#base'

/** A workload's name, `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`; only made by this file. */
export type SpiffeId = Brand<string, 'SpiffeId'>

/** What an Istio identity consists of. */
export type SpiffeParts = Readonly<{ trustDomain: string; namespace: string; serviceAccount: string }>

/** X.509-SVIDs allow 2048 bytes of URI (SPIFFE-ID §2.3). */
const maxIdBytes = 2048
// No percent signs, user info, port, query or non-ASCII anywhere: a name has exactly one spelling.
const pattern = /^spiffe:\/\/([a-z0-9._-]{1,255})\/ns\/([A-Za-z0-9._-]+)\/sa\/([A-Za-z0-9._-]+)$/

const split = (text: string): SpiffeParts | undefined => {
  if (text.length > maxIdBytes) return undefined
  const [, trustDomain = '', namespace = '', serviceAccount = ''] = pattern.exec(text) ?? []
  if (isDots(namespace) || isDots(serviceAccount)) return undefined
  return trustDomain === '' ? undefined : { trustDomain, namespace, serviceAccount }
}

/** `.` and `..` are path steps, never names. */
const isDots = (segment: string) => segment === '.' || segment === '..'

/** The id in `text`; undefined unless it has exactly the form that Istio gives a workload. */
export const parseSpiffeId = (text: string): SpiffeId | undefined =>
  split(text) === undefined ? undefined : (text as SpiffeId)

/** The id of a service account; throws a RangeError when a part cannot stand in one. */
export function spiffeId({ trustDomain, namespace, serviceAccount }: SpiffeParts): SpiffeId {
  const id = parseSpiffeId(`spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`)
  if (id === undefined) throw new RangeError(`not a workload: ${trustDomain} ${namespace} ${serviceAccount}`)
  return id
}

/** The three parts of an id. */
export function partsOf(id: SpiffeId): SpiffeParts {
  const parts = split(id)
  if (parts === undefined) throw new TypeError(`not a SPIFFE id: ${id}`)
  return parts
}
