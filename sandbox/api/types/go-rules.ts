import type { Schema } from './schema.ts'

/** Reported by machines, or answered by the server: what is missing there is zero, not an error. */
const REPORTED =
  /(Status|Condition|Conditions|Address|NodeSystemInfo|DaemonEndpoint|ContainerState\w*|ContainerImage|UserInfo)$/

/** Fields that OpenAPI calls required, though their empty value is good. */
const MAY_BE_EMPTY: ReadonlySet<string> = new Set([
  'io.k8s.api.core.v1.HTTPHeader.value',
  'io.k8s.api.core.v1.Event.metadata',
  'io.k8s.api.core.v1.ObjectReference.name',
  'io.k8s.api.rbac.v1.Role.rules',
  'io.k8s.api.rbac.v1.ClusterRole.rules',
  'io.k8s.api.rbac.v1.RoleRef.apiGroup',
  'io.k8s.api.discovery.v1.EndpointSlice.endpoints',
  'io.k8s.api.events.v1.Event.eventTime',
  'io.k8s.api.networking.v1.NetworkPolicySpec.podSelector',
  'io.k8s.api.authentication.v1.TokenRequestSpec.audiences',
])

/** Keyed lists whose keys Kubernetes does not check on ordinary writes (an env variable may come twice, a node has an InternalIP per family). */
const MAY_REPEAT: ReadonlySet<string> = new Set(['addresses', 'env', 'ports', 'imagePullSecrets', 'secrets'])

/**
 * Go decodes a missing scalar as its zero value and writes it back, and takes "" for unset. The schema of a built-in
 * kind says so here: zero values become defaults, and `required` keeps only what must really be given.
 */
export function asGo(name: string, schema: Schema): Schema {
  if (!schema.properties) return schema
  const reported = REPORTED.test(name)
  const required = new Set(schema.required ?? [])
  const properties: Record<string, Schema> = {}
  for (const [key, property] of Object.entries(schema.properties)) {
    const lenient = reported || MAY_BE_EMPTY.has(`${name}.${key}`)
    properties[key] = {
      ...goField(property, required.has(key), lenient),
      ...(MAY_REPEAT.has(key) && { mayRepeat: true }),
    }
    if (lenient) required.delete(key)
  }
  return { ...schema, properties, required: [...required] }
}

function goField(property: Schema, isRequired: boolean, lenient: boolean): Schema {
  const zero = isRequired ? zeroOf(property, lenient) : undefined
  const emptyIsUnset = property.type === 'string' && !isRequired && takesEmptyForUnset(property)
  return {
    ...property,
    ...(property.default === undefined && zero !== undefined && { default: zero }),
    ...(isRequired && !lenient && property.type === 'string' && { nonEmpty: true }),
    ...(emptyIsUnset && { emptyIsUnset }),
  }
}

const takesEmptyForUnset = (property: Schema): boolean =>
  (property.enum !== undefined && !property.enum.includes('')) ||
  (property.default !== undefined && property.default !== '')

function zeroOf(property: Schema, lenient: boolean): unknown {
  if (property.type === 'integer') return 0
  if (property.type === 'boolean') return false
  return lenient && property.type === 'string' && property.format === undefined ? '' : undefined
}
