import { isRecord } from '#base'
import type { Condition, Custom } from '#kube'
import { security } from '#wire'
import { labelsOf } from './authorization-policy.ts'
import { nameOf, namespaceOf } from './inputs.ts'
import { unsupported, ztunnelAccepted } from './policy-conditions.ts'
import { newNotes, shown } from './problems.ts'
import { textMatch } from './match.ts'
import type { Settings } from './settings.ts'

/** `PERMISSIVE` stands for DISABLE too: ztunnel always accepts HBONE. */
type Mode = 'STRICT' | 'PERMISSIVE' | 'UNSET'
export type PeerMode = Readonly<{
  key: string
  namespace: string
  name: string
  created: string
  mode: Mode
  /** By workload port, never by Service port. */
  ports: ReadonlyMap<number, Mode>
  /** Undefined for the whole namespace or, in the root namespace, the whole mesh. */
  selector: Readonly<Record<string, string>> | undefined
  /** DISABLE is written somewhere. */
  disabled: boolean
  invalid: readonly string[]
}>

const fields = ['selector', 'mtls', 'portLevelMtls']

/**
 * A PeerAuthentication as we understand it. What cannot be read is STRICT, and so is a port that is not known or has
 * nobody to belong to: never less safe than written.
 */
export function readPeerMode(object: Custom): PeerMode {
  const { invalid } = newNotes()
  const spec = isRecord(object.spec) ? object.spec : {}
  const { selector, mtls } = spec
  if (object.spec !== undefined && !isRecord(object.spec)) invalid.push('spec is not an object')
  for (const field of Object.keys(spec))
    if (!fields.includes(field)) invalid.push(`spec.${field}: unknown; one of ${fields.join(', ')}`)
  const labels = selector === undefined || selector === null ? {} : labelsOf(selector)
  if (!labels) invalid.push(`spec.selector: ${shown(selector)} cannot be read; taken for STRICT`)
  // Without knowing whom it is about, or all that it wants, it may only make things stricter.
  const closed = invalid.length > 0
  const mode = modeOf(mtls, 'spec.mtls', invalid)
  const { ports, unknown } = portsOf(spec['portLevelMtls'], invalid)
  return {
    key: `${namespaceOf(object)}/${nameOf(object)}`,
    namespace: namespaceOf(object),
    name: nameOf(object),
    created: object.metadata.creationTimestamp ?? '',
    mode: closed || unknown === 'STRICT' ? 'STRICT' : mode,
    ports,
    selector: labels && Object.keys(labels).length > 0 ? labels : undefined,
    disabled: isDisabled(mtls) || Object.values(recordOf(spec['portLevelMtls'])).some(isDisabled),
    invalid,
  }
}

const recordOf = (value: unknown) => (isRecord(value) ? value : {})
const isDisabled = (setting: unknown) => isRecord(setting) && setting['mode'] === 'DISABLE'

/** The ports that can be read; `unknown` is the mode that the others want, whichever those are. */
function portsOf(value: unknown, invalid: string[]): Readonly<{ ports: PeerMode['ports']; unknown: Mode }> {
  const ports = new Map<number, Mode>()
  if (value === undefined || value === null) return { ports, unknown: 'UNSET' }
  if (!isRecord(value)) {
    invalid.push(`spec.portLevelMtls: ${shown(value)} cannot be read; taken for STRICT`)
    return { ports, unknown: 'STRICT' }
  }
  let unknown: Mode = 'UNSET'
  for (const [text, setting] of Object.entries(value)) {
    const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
    const mode = modeOf(setting, `spec.portLevelMtls.${text}`, invalid)
    if (port > 0 && port < 65_536) ports.set(port, mode)
    else {
      invalid.push(`spec.portLevelMtls: ${shown(text)} is not a port`)
      if (mode === 'STRICT') unknown = 'STRICT'
    }
  }
  return { ports, unknown }
}

function modeOf(setting: unknown, path: string, invalid: string[]): Mode {
  const mode: unknown = isRecord(setting)
    ? (setting['mode'] ?? 'UNSET')
    : setting === undefined
      ? 'UNSET'
      : setting
  switch (mode) {
    case 'STRICT':
    case 'PERMISSIVE':
    case 'UNSET':
      return mode
    case 'DISABLE':
      return 'PERMISSIVE'
    default:
      invalid.push(
        `${path}: ${shown(setting)} is not one of STRICT, PERMISSIVE, DISABLE, UNSET; taken for STRICT`,
      )
      return 'STRICT'
  }
}

/** Of several at one level the oldest counts (Istio), by name among equals. */
export const oldest = (modes: readonly PeerMode[]): PeerMode | undefined =>
  modes.toSorted((a, b) => compare(a.created, b.created) || compare(a.key, b.key))[0]
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

/** What the status of one says; `wide` are those of its namespace that have no selector. */
export function peerCondition(own: PeerMode, wide: readonly PeerMode[], rootNamespace: string): Condition {
  if (own.invalid.length > 0) return ztunnelAccepted('False', 'Invalid', own.invalid.join('; '))
  if (own.selector && own.namespace === rootNamespace)
    return unsupported('a selector in the root namespace selects nothing; this PeerAuthentication is ignored')
  const counts = own.selector ? own : oldest(wide)
  if (counts && counts.key !== own.key)
    return ztunnelAccepted('False', 'Conflict', `${counts.key} is older and counts instead of this one`)
  if (!own.selector && own.ports.size > 0)
    return unsupported('spec.portLevelMtls: has an effect only beside a selector; the rest is enforced')
  return own.disabled
    ? ztunnelAccepted(
        'True',
        'UnsupportedValue',
        'DISABLE is taken for PERMISSIVE: ztunnel always accepts mTLS',
      )
    : ztunnelAccepted('True', 'Accepted', 'enforced by ztunnel')
}

/** What a workload must refer to. */
export type Requirement =
  | Readonly<{ kind: 'none' }>
  | Readonly<{ kind: 'strict' }>
  | Readonly<{ kind: 'own'; authorization: security.Authorization }>

export const strictName = 'istio_converted_static_strict'

/** The mode of the workload's level, else of its namespace's, else of the mesh's; plaintext is accepted by default. */
const effective = (...levels: readonly (PeerMode | undefined)[]): Mode =>
  levels.map((level) => level?.mode ?? 'UNSET').find((mode) => mode !== 'UNSET') ?? 'PERMISSIVE'

/** From the three levels (workload, namespace, mesh) to what ztunnel has to deny (Istio: convertPeerAuthentication). */
export function requirementOf(
  own: PeerMode | undefined,
  namespace: PeerMode | undefined,
  mesh: PeerMode | undefined,
): Requirement {
  const mode = effective(own, namespace, mesh)
  const ports = [...(own?.ports ?? [])].sort(([a], [b]) => a - b)
  if (own && mode === 'STRICT') {
    const exempt = ports.filter(([, m]) => m === 'PERMISSIVE').map(([port]) => port)
    if (exempt.length > 0) return { kind: 'own', authorization: exceptOn(own, exempt) }
  }
  if (mode === 'STRICT') return { kind: 'strict' }
  const strict = ports.filter(([, m]) => m === 'STRICT').map(([port]) => port)
  return own && strict.length > 0 ? { kind: 'own', authorization: onlyOn(own, strict) } : { kind: 'none' }
}

const anybody = [textMatch('*')].filter((m) => m !== undefined)
const plaintext = { notPrincipals: anybody } as const

/** Deny plaintext. Referred to by every workload that is strict on all ports. */
export const strictPolicy = ({ rootNamespace }: Settings): security.Authorization =>
  deny(rootNamespace, strictName, [{ clauses: [{ matches: [match(plaintext)] }] }])

/** One group whose clauses are ANDed: plaintext, and on none of the exempt ports. */
const exceptOn = (own: PeerMode, ports: readonly number[]) =>
  deny(own.namespace, convertedName(own), [
    {
      clauses: [
        { matches: [match(plaintext)] },
        ...ports.map((port) => ({ matches: [match({ notDestinationPorts: [port] })] })),
      ],
    },
  ])

/** One group per strict port. */
const onlyOn = (own: PeerMode, ports: readonly number[]) =>
  deny(
    own.namespace,
    convertedName(own),
    ports.map((port) => ({ clauses: [{ matches: [match({ ...plaintext, destinationPorts: [port] })] }] })),
  )

/** Kubernetes names have no underscore, so it cannot collide with a user's policy. */
const convertedName = ({ name }: PeerMode) => `converted_peer_authentication_${name}`

const deny = (namespace: string, name: string, rules: security.Rule[]): security.Authorization => ({
  name,
  namespace,
  scope: security.Scope.WORKLOAD_SELECTOR,
  action: security.Action.DENY,
  rules,
  dryRun: false,
  extensions: [],
})

const match = (
  fields: Readonly<{
    notPrincipals?: readonly security.StringMatch[]
    destinationPorts?: readonly number[]
    notDestinationPorts?: readonly number[]
  }>,
): security.Match => ({
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [...(fields.notPrincipals ?? [])],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [...(fields.destinationPorts ?? [])],
  notDestinationPorts: [...(fields.notDestinationPorts ?? [])],
  serviceAccounts: [],
  notServiceAccounts: [],
  extensions: [],
})
