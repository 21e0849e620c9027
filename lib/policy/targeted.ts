import { isRecord, messageOf } from '#base'
import type { Authorization } from './authorization.ts'
import { decodeAuthorization } from './parse.ts'

/** xDS type URL of the policies that waypoints enforce, each with what it is attached to. */
export const targetedPolicyTypeUrl = 'type.googleapis.com/lateen.dev.TargetedPolicy'

/**
 * What a policy of waypoints is attached to; a class has no namespace. `Namespace` stands for a target that cannot be
 * read: it may be anything there, or with '' in the mesh.
 */
export type AttachedTo = Readonly<{
  kind: 'Gateway' | 'GatewayClass' | 'Service' | 'ServiceEntry' | 'Namespace'
  namespace: string
  name: string
}>

export type TargetedPolicy = Readonly<{ authorization: Authorization; targets: readonly AttachedTo[] }>

const kinds = ['Gateway', 'GatewayClass', 'Service', 'ServiceEntry', 'Namespace'] as const

/** The payload: `authorization` is an encoded `istio.security.Authorization`. */
export const encodeTargeted = (authorization: Uint8Array, targets: readonly AttachedTo[]): Buffer =>
  Buffer.from(
    JSON.stringify({
      version: 1,
      authorization: Buffer.from(authorization).toString('base64'),
      targets: targets.map(({ kind, namespace, name }) => ({ kind, namespace, name })),
    }),
  )

/** Reads a payload. What it does not understand it says; the caller then has to refuse more, not less. */
export function decodeTargeted(name: string, bytes: Uint8Array): TargetedPolicy | { unreadable: string } {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString())
    const { version, authorization, targets, ...unknown } = isRecord(value) ? value : {}
    const list: readonly unknown[] = Array.isArray(targets) ? targets : []
    const read = list.map(readTarget)
    const known = read.filter((target) => target !== undefined)
    if (version !== 1 || typeof authorization !== 'string' || !Array.isArray(targets))
      return { unreadable: 'its version, its policy or its targets' }
    if (Object.keys(unknown).length > 0 || known.length < read.length)
      return { unreadable: 'a part of it is not understood' }
    return { authorization: decodeAuthorization(name, Buffer.from(authorization, 'base64')), targets: known }
  } catch (error) {
    return { unreadable: messageOf(error) }
  }
}

function readTarget(value: unknown): AttachedTo | undefined {
  const { kind, namespace, name, ...unknown } = isRecord(value) ? value : {}
  const known = kinds.find((one) => one === kind)
  if (!known || typeof namespace !== 'string' || typeof name !== 'string') return undefined
  return Object.keys(unknown).length > 0 ? undefined : { kind: known, namespace, name }
}
