import { isRecord, messageOf } from '#base'
import type { z } from 'zod'
import type { DestinationPolicy } from './destination-policy.ts'
import {
  type Destination,
  type HttpAction,
  type HttpMatch,
  type HttpRule,
  type InvalidDestination,
  type L4Rule,
  modelVersion,
  type Origin,
  type PathSpelling,
  policyKey,
  type PortRoutes,
  type Protocol,
  type ServiceRoutes,
} from './model.ts'
import { destinationPolicy } from './policy-schema.ts'
import { httpRule, l4Match, l4Rule, matchParts, origin, port as portNumber } from './schema.ts'

/** What came of a payload. */
export type ParsedRoutes =
  /** `problems`: what was closed in place of what cannot be understood. They belong into a NACK and the log. */
  | Readonly<{ kind: 'routes'; routes: ServiceRoutes; problems: readonly string[] }>
  /** Nothing of it can be used: what was known before stays, and a service without any before answers nothing but 500. */
  | Readonly<{ kind: 'unreadable'; problem: string }>

/** Of one service: more is an attack or a bug. */
const maxRules = 20_000
const spellings: readonly PathSpelling[] = ['merge-slashes', 'decode-and-merge-slashes']
const protocols: readonly Protocol[] = ['http', 'tls', 'tcp', 'auto']

/** Reads a resource of this name. A rule that is not understood in every part answers 500 to whatever it may be about. */
export function parseServiceRoutes(name: string, payload: Uint8Array): ParsedRoutes {
  const unreadable = (problem: string): ParsedRoutes => ({
    kind: 'unreadable',
    problem: `${name}: ${problem}`,
  })
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
  } catch (error) {
    return unreadable(messageOf(error))
  }
  const { version, service, ports, policies, ...unknown } = isRecord(value) ? value : {}
  if (version !== modelVersion) return unreadable(`version ${JSON.stringify(version)} is not ${modelVersion}`)
  if (service !== name) return unreadable(`it is about ${JSON.stringify(service)}`)
  if (Object.keys(unknown).length > 0) return unreadable(`unknown: ${Object.keys(unknown).join(', ')}`)
  if (!Array.isArray(ports) || !Array.isArray(policies)) return unreadable('ports or policies are missing')
  const problems: string[] = []
  const known = policiesOf(policies, problems)
  const read = ports.map((item, i) => portOf(item, `ports[${i}]`, problems))
  if (read.some((item) => item === undefined)) return unreadable('a port has no number')
  const found = read.filter((item) => item !== undefined)
  if (new Set(found.map(({ port }) => port)).size < found.length) return unreadable('a port is there twice')
  if (found.reduce((sum, { http, l4 }) => sum + http.length + l4.length, 0) > maxRules)
    return unreadable(`more than ${maxRules} rules`)
  const routes = { version: modelVersion, service, ports: found, policies: [...known.values()] } as const
  return { kind: 'routes', routes: withPolicies(routes, known, problems), problems }
}

const issueOf = (error: z.ZodError): string => {
  const [issue] = error.issues
  return issue === undefined ? 'unreadable' : `${issue.path.join('.')}: ${issue.message}`
}

function policiesOf(list: readonly unknown[], problems: string[]): ReadonlyMap<string, DestinationPolicy> {
  const known = new Map<string, DestinationPolicy>()
  for (const [i, item] of list.entries()) {
    const { data, error } = destinationPolicy.safeParse(item)
    if (data) known.set(policyKey(data.destination), data)
    else problems.push(`policies[${i}]: ${issueOf(error)}`)
  }
  return known
}

/** Undefined without a number. What is unreadable besides closes the port. */
function portOf(item: unknown, path: string, problems: string[]): PortRoutes | undefined {
  const { port, protocol, paths, http, l4, ...unknown } = isRecord(item) ? item : {}
  const number = portNumber.safeParse(port)
  if (!number.success) return undefined
  const spoken = protocols.find((one) => one === protocol)
  const spelling = spellings.find((one) => one === paths)
  const isSpelled = paths === undefined || spelling !== undefined
  if (
    !isSpelled ||
    spoken === undefined ||
    !Array.isArray(http) ||
    !Array.isArray(l4) ||
    Object.keys(unknown).length > 0
  ) {
    const problem = `${path}: its protocol, its rules or a part of it is not understood`
    problems.push(problem)
    return { port: number.data, protocol: 'auto', http: [closedRule({}, problem)], l4: [] }
  }
  return {
    port: number.data,
    protocol: spoken,
    ...(spelling === undefined ? {} : { paths: spelling }),
    http: http.map((rule, i) => httpRuleOf(rule, `${path}.http[${i}]`, problems)),
    l4: l4.map((rule, i) => l4RuleOf(rule, `${path}.l4[${i}]`, problems)),
  }
}

function httpRuleOf(value: unknown, path: string, problems: string[]): HttpRule {
  const { data, error } = httpRule.safeParse(value)
  if (data) return data
  const problem = `${path}: ${issueOf(error)}`
  problems.push(problem)
  return closedRule(value, problem)
}

const noHeaders = { set: [], add: [], remove: [] }
const originOf = (value: unknown): Origin =>
  origin.safeParse(value).data ?? { kind: 'Service', name: 'unreadable' }

/** Answers 500 to everything that the parts of its match that can be read let through: at least what it was about. */
function closedRule(value: unknown, problem: string): HttpRule {
  const rule = isRecord(value) ? value : {}
  return {
    name: typeof rule['name'] === 'string' ? rule['name'] : 'unreadable',
    origin: originOf(rule['origin']),
    match: readableParts(rule['match']),
    action: { kind: 'respond', status: 500, problem },
    requestHeaders: noHeaders,
    responseHeaders: noHeaders,
  }
}

/** The parts that narrow a match and can be read. Each that is left out makes it wider. */
function readableParts(value: unknown): HttpMatch {
  const match = isRecord(value) ? value : {}
  return {
    ...part('path', matchParts.path.safeParse(match['path']).data),
    // Without its case a path is wider, so an unreadable word is taken for yes.
    ...(match['ignorePathCase'] === undefined || match['ignorePathCase'] === false
      ? {}
      : { ignorePathCase: true }),
    ...part('method', matchParts.method.safeParse(match['method']).data),
    ...part('scheme', matchParts.scheme.safeParse(match['scheme']).data),
    ...part('authority', matchParts.authority.safeParse(match['authority']).data),
    ...part('headers', matchParts.headers.safeParse(match['headers']).data),
    ...part('query', matchParts.query.safeParse(match['query']).data),
    ...part('claims', matchParts.claims.safeParse(match['claims']).data),
    ...part('source', matchParts.source.safeParse(match['source']).data),
  }
}
const part = <K extends string, V>(key: K, value: V | undefined) =>
  (value === undefined ? {} : { [key]: value }) as { readonly [Key in K]?: V }

/** Its connections are reset: all of those that its SNI lets through, if that can be read. */
function l4RuleOf(value: unknown, path: string, problems: string[]): L4Rule {
  const { data, error } = l4Rule.safeParse(value)
  if (data) return data
  problems.push(`${path}: ${issueOf(error)}`)
  const rule = isRecord(value) ? value : {}
  const match = l4Match.safeParse(rule['match']).data ?? {}
  return { name: 'unreadable', origin: originOf(rule['origin']), match, destinations: [] }
}

/** A destination whose policy is missing or unreadable is not called: nobody knows how. */
function withPolicies(
  routes: ServiceRoutes,
  known: ReadonlyMap<string, DestinationPolicy>,
  problems: string[],
): ServiceRoutes {
  const missing = new Set<string>()
  const kept = (to: Destination | InvalidDestination): Destination | InvalidDestination => {
    if (to.kind === 'invalid' || known.has(policyKey(to))) return to
    missing.add(policyKey(to))
    return { kind: 'invalid', status: 500, reason: `no policy for ${policyKey(to)}` }
  }
  const each = <T extends Readonly<{ to: Destination | InvalidDestination }>>(
    list: readonly T[],
  ): readonly T[] => list.map((one) => ({ ...one, to: kept(one.to) }))
  const acted = (action: HttpAction): HttpAction =>
    action.kind === 'forward'
      ? { ...action, destinations: each(action.destinations), mirrors: each(action.mirrors) }
      : action
  const ports = routes.ports.map((port) => ({
    ...port,
    http: port.http.map((rule) => ({ ...rule, action: acted(rule.action) })),
    l4: port.l4.map((rule) => ({ ...rule, destinations: each(rule.destinations) })),
  }))
  for (const key of missing) problems.push(`policies: none for ${key}`)
  return { ...routes, ports }
}
