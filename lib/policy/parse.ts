import { type Cidr, messageOf } from '#base'
import { security } from '#wire'
import {
  type Authorization,
  type Lists,
  type Match,
  type MatchFields,
  type PolicyName,
  policyName,
  type Rule,
  type TextMatch,
} from './authorization.ts'
import { isAudit } from './audit.ts'
import { unknownParts } from './unknown-parts.ts'

/** A part of a policy that cannot be read, with the reason. Only thrown and caught in this file. */
class Unreadable extends Error {}
const unreadable = (reason: string): never => {
  throw new Unreadable(reason)
}

/**
 * Wire → policy. An unknown or unparsable part never widens access: in an ALLOW it matches nothing, in a DENY
 * everything. (ztunnel drops such list entries, so that an emptied list matches anything.) `unknown` holds the paths
 * found by `unknownParts`. Rejected only where the policy cannot even be named.
 */
export function parseAuthorization(
  wire: security.Authorization,
  unknown: ReadonlySet<string> = new Set(),
): Authorization | { reject: string } {
  if (wire.name === '' || wire.name.includes('/') || wire.namespace.includes('/'))
    return { reject: 'policy without a usable name' }
  const problems: string[] = []
  const action = actionOf(wire.action)
  const scope = scopeOf(wire.scope)
  const spoilt: Match = action === 'allow' ? 'never' : 'always'
  const audit = isAudit(wire)
  const rules = wire.rules.map((rule, r): Rule => {
    const clauses = audit ? rule.clauses.slice(0, -1) : rule.clauses
    return unknown.has(`${r}`) ? [[spoilt]] : clauses.map((clause, c) => parseClause(clause, `${r}.${c}`))
  })
  function parseClause(clause: security.Clause, path: string): readonly Match[] {
    if (unknown.has(path)) return [spoilt]
    return clause.matches.map((match, m) => {
      try {
        if (unknown.has(`${path}.${m}`)) unreadable('it has a field that this version does not know')
        return parseMatch(match)
      } catch (error) {
        if (!(error instanceof Unreadable)) throw error
        problems.push(`rule ${path}.${m}: ${error.message}`)
        return spoilt
      }
    })
  }
  for (const path of unknown)
    if (path !== '' && path.split('.').length < 3) problems.push(`unknown field at "${path}"`)
  const closed = audit ? undefined : wholeProblem(wire, action, scope, unknown)
  if (closed !== undefined) problems.push(closed)
  return {
    name: policyName(wire.namespace, wire.name),
    namespace: wire.namespace,
    scope: scope ?? 'namespace',
    action: action ?? 'deny',
    rules: closed === undefined ? rules : closedRules(action),
    dryRun: wire.dryRun,
    ...(audit ? { audit: true } : {}),
    problems,
  }
}

/** Allows nothing, or denies everything. */
const closedRules = (action: Authorization['action'] | undefined): readonly Rule[] =>
  action === 'allow' ? [] : [[]]

function wholeProblem(
  wire: security.Authorization,
  action: string | undefined,
  scope: string | undefined,
  unknown: ReadonlySet<string>,
): string | undefined {
  if (action === undefined) return `unknown action ${wire.action}`
  if (wire.extensions.length > 0 || unknown.has('')) return 'it has a field that this version does not know'
  if (scope === undefined) return `unknown scope ${wire.scope}`
  return undefined
}

/** Bytes of a resource → policy. What cannot be read at all denies everything in the namespace of its name. */
export function decodeAuthorization(resourceName: string, encoded: Uint8Array): Authorization {
  const parsed = tryDecode(encoded)
  if (!('reject' in parsed) && parsed.name === resourceName) return parsed
  const reason = 'reject' in parsed ? parsed.reason : `it is named ${parsed.name} inside`
  return {
    name: resourceName as PolicyName,
    namespace: resourceName.split('/')[0] ?? '',
    scope: 'namespace',
    action: 'deny',
    rules: [[]],
    dryRun: false,
    problems: [reason],
  }
}

function tryDecode(encoded: Uint8Array): Authorization | { reject: true; reason: string } {
  try {
    const parsed = parseAuthorization(security.Authorization.decode(encoded), unknownParts(encoded))
    return 'reject' in parsed ? { reject: true, reason: parsed.reject } : parsed
  } catch (error) {
    return { reject: true, reason: `not decodable: ${messageOf(error)}` }
  }
}

function actionOf(action: number): Authorization['action'] | undefined {
  if (action === security.Action.ALLOW) return 'allow'
  return action === security.Action.DENY ? 'deny' : undefined
}

function scopeOf(scope: number): Authorization['scope'] | undefined {
  const scopes = ['global', 'namespace', 'workload-selector'] as const
  return scopes[scope]
}

function parseMatch(wire: security.Match): MatchFields {
  if (wire.extensions.length > 0) unreadable('it has an extension')
  return {
    namespaces: lists(wire.namespaces, wire.notNamespaces, parseText),
    principals: lists(wire.principals, wire.notPrincipals, parseText),
    serviceAccounts: lists(wire.serviceAccounts, wire.notServiceAccounts, parseServiceAccount),
    sourceIps: lists(wire.sourceIps, wire.notSourceIps, parseBlock),
    destinationIps: lists(wire.destinationIps, wire.notDestinationIps, parseBlock),
    destinationPorts: lists(wire.destinationPorts, wire.notDestinationPorts, parsePort),
  }
}

const lists = <W, T>(any: readonly W[], none: readonly W[], parse: (wire: W) => T): Lists<T> => ({
  any: any.map(parse),
  none: none.map(parse),
})

function parseText({ matchType }: security.StringMatch): TextMatch {
  if (matchType === undefined) return unreadable('a string match has no known kind')
  return matchType.$case === 'presence'
    ? { kind: 'presence' }
    : { kind: matchType.$case, value: matchType.value }
}

const parseServiceAccount = ({ namespace, serviceAccount }: security.ServiceAccountMatch) =>
  namespace === '' || serviceAccount === ''
    ? unreadable('a service account lacks its namespace or name')
    : { namespace, serviceAccount }

function parseBlock({ address, length }: security.Address): Cidr {
  const bytes = Uint8Array.from(address)
  if ((bytes.length !== 4 && bytes.length !== 16) || length > bytes.length * 8)
    return unreadable(`not an IP block: ${bytes.length} bytes, length ${length}`)
  const mapped = bytes.length === 16 && bytes.subarray(0, 10).every((b) => b === 0) && bytes[10] === 255
  // Our addresses are never IPv4-mapped, so neither may a block be.
  return mapped && bytes[11] === 255 && length >= 96
    ? { bytes: bytes.slice(12), length: length - 96 }
    : { bytes, length }
}

const parsePort = (port: number) => (port >= 1 && port <= 65_535 ? port : unreadable(`not a port: ${port}`))
