import { isRecord } from '#base'
import type { Custom } from '#kube'
import { security } from '#wire'
import { nameOf, namespaceOf } from './inputs.ts'
import { newNotes, shown } from './problems.ts'
import { textMatch } from './match.ts'
import type { Settings } from './settings.ts'

/** `PERMISSIVE` stands for DISABLE too: ztunnel always accepts HBONE. */
export type Mode = 'STRICT' | 'PERMISSIVE' | 'UNSET'
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
  invalid: readonly string[]
}>

/** A PeerAuthentication as we understand it. A mode that cannot be read is STRICT: never less safe than written. */
export function readPeerMode(object: Custom): PeerMode {
  const notes = newNotes()
  const spec = isRecord(object.spec) ? object.spec : {}
  const { portLevelMtls = {}, selector } = spec
  const labels = labelsOf(selector)
  if (!labels) notes.invalid.push(`spec.selector: ${shown(selector)} cannot be read; taken for STRICT`)
  const ports = new Map<number, Mode>()
  for (const [text, setting] of Object.entries(isRecord(portLevelMtls) ? portLevelMtls : {})) {
    const port = Number(text)
    if (Number.isInteger(port) && port > 0 && port < 65_536)
      ports.set(port, modeOf(setting, `spec.portLevelMtls.${text}`, notes.invalid))
    else notes.invalid.push(`spec.portLevelMtls: ${shown(text)} is not a port`)
  }
  return {
    key: `${namespaceOf(object)}/${nameOf(object)}`,
    namespace: namespaceOf(object),
    name: nameOf(object),
    created: object.metadata.creationTimestamp ?? '',
    // Without knowing whom it is about, it may only make things stricter.
    mode: labels ? modeOf(spec['mtls'], 'spec.mtls', notes.invalid) : 'STRICT',
    ports,
    selector: labels && Object.keys(labels).length > 0 ? labels : undefined,
    invalid: notes.invalid,
  }
}

/** The labels that a selector wants; undefined when it cannot be read. */
function labelsOf(selector: unknown): Readonly<Record<string, string>> | undefined {
  if (selector === undefined) return {}
  const { matchLabels = {}, ...rest } = isRecord(selector) ? selector : { unreadable: selector }
  if (!isRecord(matchLabels) || Object.keys(rest).length > 0) return undefined
  const entries = Object.entries(matchLabels)
  if (!entries.every(([, value]) => typeof value === 'string')) return undefined
  return Object.fromEntries(entries.map(([key, value]) => [key, String(value)]))
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
      invalid.push(`${path}: ${shown(setting)} cannot be read; taken for STRICT`)
      return 'STRICT'
  }
}

/** Of several at one level the oldest counts (Istio), by name among equals. */
export const oldest = (modes: readonly PeerMode[]): PeerMode | undefined =>
  modes.toSorted((a, b) => compare(a.created, b.created) || compare(a.key, b.key))[0]
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

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
