import { z } from 'zod'
import { authorityProblem, headerProblem, pathProblem } from './headers.ts'
import type {
  Cors,
  Destination,
  Fault,
  HeaderMatch,
  HeaderOps,
  HeaderValue,
  HttpAction,
  HttpMatch,
  HttpRule,
  InvalidDestination,
  L4Match,
  L4Rule,
  Mirror,
  Origin,
  PathRewrite,
  Redirect,
  RetryPolicy,
  Rewrite,
  TextMatch,
  WeightedDestination,
} from './model.ts'
import { isRetryCondition } from './retry.ts'
import { substitutionProblem } from './rewrite.ts'
import { patternProblem } from './text.ts'

// Every object is strict: a part that this version does not know may be what narrows the rest.

/** What a timer can wait for. */
const maxMs = 2 ** 31 - 1
export const ms = z.int().min(0).max(maxMs)
export const count = z
  .int()
  .min(0)
  .max(2 ** 32 - 1)
export const percent = z.int().min(0).max(100)
export const port = z.int().min(1).max(65_535)
const ppm = z.int().min(0).max(1_000_000)
const weight = z.int().min(0).max(1_000_000_000)
/** Paths, names, values: what fits in a header block. */
const maxText = 65_536
export const text = z.string().max(maxText)
const name = text.min(1)
const status = z.int().min(200).max(599)

const problemOf = (problem: (value: string) => string | undefined) =>
  text.check((ctx) => {
    const message = problem(ctx.value)
    if (message !== undefined) ctx.issues.push({ code: 'custom', message, input: ctx.value })
  })
const pattern = problemOf(patternProblem)
const headerName = problemOf((value) => headerProblem(value))
/** Matchers may ask for any header, also for those that routes do not write. */
const askedHeader = text.regex(/^[!#$%&'*+\-.^_`|~0-9a-z]+$/)

export const origin: z.ZodType<Origin> = z.strictObject({
  kind: z.enum([
    'HTTPRoute',
    'GRPCRoute',
    'TLSRoute',
    'TCPRoute',
    'VirtualService',
    'DestinationRule',
    'Service',
    'ServiceEntry',
  ]),
  name,
  rule: count.exactOptional(),
  match: count.exactOptional(),
})

const plainText = z.strictObject({ kind: z.enum(['exact', 'prefix', 'suffix']), value: text })
const regexText = z.strictObject({ kind: z.literal('regex'), value: pattern })
const textMatch: z.ZodType<TextMatch> = z.discriminatedUnion('kind', [plainText, regexText])
const presence = z.discriminatedUnion('kind', [
  plainText,
  regexText,
  z.strictObject({ kind: z.literal('present') }),
])
const labels = z.record(name, text)
const source = z.strictObject({
  namespace: name.exactOptional(),
  principal: name.exactOptional(),
  labels: labels.exactOptional(),
})
const headerMatch: z.ZodType<HeaderMatch> = z.strictObject({
  name: askedHeader,
  value: presence,
  negated: z.boolean().exactOptional(),
  missingIsEmpty: z.boolean().exactOptional(),
})

/** Part by part, so that of a match in which one cannot be read the others still narrow what is refused. */
export const matchParts = {
  path: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('exact'), value: text }),
    z.strictObject({ kind: z.literal('prefix'), value: text }),
    z.strictObject({ kind: z.literal('segments'), value: text.regex(/^\/$|^\/.*[^/]$/s) }),
    z.strictObject({ kind: z.literal('regex'), value: pattern }),
  ]),
  ignorePathCase: z.boolean(),
  method: textMatch,
  scheme: textMatch,
  authority: textMatch,
  headers: z.array(headerMatch),
  query: z.array(z.strictObject({ name, value: presence })),
  claims: z.array(
    z.strictObject({ path: z.array(name).min(1), value: presence, negated: z.boolean().exactOptional() }),
  ),
  source,
} satisfies { [Part in keyof Required<HttpMatch>]: z.ZodType<HttpMatch[Part]> }

const httpMatch: z.ZodType<HttpMatch> = z.strictObject({
  path: matchParts.path.exactOptional(),
  ignorePathCase: matchParts.ignorePathCase.exactOptional(),
  method: matchParts.method.exactOptional(),
  scheme: matchParts.scheme.exactOptional(),
  authority: matchParts.authority.exactOptional(),
  headers: matchParts.headers.exactOptional(),
  query: matchParts.query.exactOptional(),
  claims: matchParts.claims.exactOptional(),
  source: matchParts.source.exactOptional(),
})

const headerValue: z.ZodType<HeaderValue> = z
  .strictObject({ name: headerName, value: text, template: z.boolean().exactOptional() })
  .check((ctx) => {
    const { name: header, value, template } = ctx.value
    const message = template === true ? undefined : headerProblem(header, value)
    if (message !== undefined) ctx.issues.push({ code: 'custom', message, input: value })
  })
const headerOps: z.ZodType<HeaderOps> = z.strictObject({
  set: z.array(headerValue),
  add: z.array(headerValue),
  remove: z.array(headerName),
})

const service = z.strictObject({
  kind: z.literal('service'),
  service: text.regex(/^[^/]+\/[^/]+$/),
  port,
  subset: name.exactOptional(),
})
export const destination: z.ZodType<Destination> = service
const invalid = z.strictObject({
  kind: z.literal('invalid'),
  status,
  flag: z.literal('NC').exactOptional(),
  reason: text,
})
const target: z.ZodType<Destination | InvalidDestination> = z.discriminatedUnion('kind', [service, invalid])

const authority = problemOf(authorityProblem)
const pathText = problemOf(pathProblem)
const full = z.strictObject({ kind: z.literal('full'), value: pathText })
const prefix = z.strictObject({ kind: z.literal('prefix'), value: pathText })
const regexRewrite = z
  .strictObject({ kind: z.literal('regex'), pattern, substitution: pathText })
  .check((ctx) => {
    const { pattern: expression, substitution } = ctx.value
    const message = patternProblem(expression) ?? substitutionProblem(expression, substitution)
    if (message !== undefined) ctx.issues.push({ code: 'custom', message, input: substitution })
  })
const pathRewrite: z.ZodType<PathRewrite> = z.discriminatedUnion('kind', [full, prefix, regexRewrite])
const rewrite: z.ZodType<Rewrite> = z.strictObject({
  authority: authority.exactOptional(),
  path: pathRewrite.exactOptional(),
})
const redirectAction = z.strictObject({
  kind: z.literal('redirect'),
  status: z.literal([301, 302, 303, 307, 308]),
  scheme: text.regex(/^[a-z][a-z0-9+.-]*$/i).exactOptional(),
  host: authority.exactOptional(),
  port: z.union([port, z.enum(['scheme', 'request'])]),
  path: z.discriminatedUnion('kind', [full, prefix]).exactOptional(),
})

const redirect: z.ZodType<Redirect> = redirectAction

const weighted: z.ZodType<WeightedDestination> = z.strictObject({
  weight,
  to: target,
  requestHeaders: headerOps,
  responseHeaders: headerOps,
  rewrite: rewrite.exactOptional(),
  redirect: redirect.exactOptional(),
})
const mirror: z.ZodType<Mirror> = z.strictObject({ to: target, ppm })
const retry: z.ZodType<RetryPolicy> = z.strictObject({
  attempts: z.int().min(0).max(1_000),
  on: z.array(
    z.custom<RetryPolicy['on'][number]>((word) => typeof word === 'string' && isRetryCondition(word)),
  ),
  statuses: z.array(z.int().min(100).max(599)),
  perTryTimeoutMs: ms,
  backoffBaseMs: ms,
  backoffMaxMs: ms,
  avoidPreviousHosts: z.boolean(),
  otherLocalities: z.boolean(),
})

const action: z.ZodType<HttpAction> = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('forward'),
    destinations: z.array(weighted),
    rewrite: rewrite.exactOptional(),
    mirrors: z.array(mirror),
    timeoutMs: ms,
    retry,
  }),
  redirectAction,
  z.strictObject({
    kind: z.literal('respond'),
    status,
    body: z.base64().exactOptional(),
    problem: text.exactOptional(),
  }),
  z.strictObject({ kind: z.literal('not-found') }),
])

const fault: z.ZodType<Fault> = z.strictObject({
  delay: z.strictObject({ ppm, delayMs: ms }).exactOptional(),
  abort: z
    .strictObject({
      ppm,
      with: z.discriminatedUnion('kind', [
        z.strictObject({ kind: z.literal('http'), status }),
        z.strictObject({ kind: z.literal('grpc'), status: z.int().min(0).max(16) }),
      ]),
    })
    .exactOptional(),
})

/** Stands in a header of ours as it is. */
const listed = problemOf((value) => headerProblem('x', value))
const cors: z.ZodType<Cors> = z.strictObject({
  allowOrigins: z.array(
    z.discriminatedUnion('kind', [plainText, regexText, z.strictObject({ kind: z.literal('any') })]),
  ),
  allowMethods: z.array(listed),
  allowHeaders: z.array(listed),
  exposeHeaders: z.array(listed),
  maxAgeSeconds: count.exactOptional(),
  allowCredentials: z.boolean(),
  unmatchedPreflights: z.enum(['answer', 'forward']),
  wildcards: z.enum(['verbatim', 'echo']),
})

export const httpRule: z.ZodType<HttpRule> = z.strictObject({
  name: text,
  origin,
  match: httpMatch,
  action,
  requestHeaders: headerOps,
  responseHeaders: headerOps,
  fault: fault.exactOptional(),
  cors: cors.exactOptional(),
})

export const l4Match: z.ZodType<L4Match> = z.strictObject({
  sni: z.array(name).exactOptional(),
  source: source.exactOptional(),
})
export const l4Rule: z.ZodType<L4Rule> = z.strictObject({
  name: text,
  origin,
  match: l4Match,
  destinations: z.array(z.strictObject({ weight, to: target })),
})
