import { RE2JS } from 're2js'
import type { HttpMatch, PathMatch, PathRewrite, Redirect } from './model.ts'
import { type RouteRequest, splitPath } from './request.ts'

/** A path without query → the path in its place. */
export type PathChange = (path: string) => string

/** What a rewrite does to a path that `match` has let through. */
export function pathChange(rewrite: PathRewrite, { path: matched }: HttpMatch): PathChange {
  switch (rewrite.kind) {
    case 'full':
      return () => rooted(rewrite.value)
    case 'prefix':
      return prefixChange(rewrite.value, matched)
    case 'regex':
      return regexChange(rewrite.pattern, rewrite.substitution)
  }
}

/** Only paths with a slash can be asked for. */
const rooted = (path: string): string => (path.startsWith('/') ? path : `/${path}`)

function prefixChange(value: string, matched: PathMatch | undefined): PathChange {
  switch (matched?.kind) {
    // As text, as Envoy does for VirtualServices.
    case 'prefix':
      return (path) => rooted(value + path.slice(matched.value.length))
    case 'exact':
    case 'regex':
      return () => rooted(value)
    // By segments: nowhere a slash too many, nowhere one too few (Gateway API, ReplacePrefixMatch).
    default: {
      const length = matched === undefined || matched.value === '/' ? 0 : matched.value.length
      const start = value.endsWith('/') ? value.slice(0, -1) : value
      return (path) => rooted(start + path.slice(length))
    }
  }
}

/** Every occurrence; `\1` is the first group, `\0` all of it, `\\` a backslash. */
function regexChange(pattern: string, substitution: string): PathChange {
  const expression = RE2JS.compile(pattern)
  const parts = substitutionParts(substitution) ?? []
  return (path) => {
    let changed = ''
    let from = 0
    for (const found of expression.matchAll(path)) {
      const at = found.index ?? from
      changed += path.slice(from, at)
      for (const part of parts) changed += typeof part === 'string' ? part : (found[part] ?? '')
      from = at + found[0].length
    }
    return rooted(changed + path.slice(from))
  }
}

/** Texts, and numbers of groups between them; undefined if a backslash is followed by anything else. */
function substitutionParts(substitution: string): readonly (string | number)[] | undefined {
  const parts: (string | number)[] = []
  for (let i = 0; i < substitution.length; i++) {
    const [char = '', next = ''] = [substitution[i], substitution[i + 1]]
    if (char !== '\\') parts.push(char)
    else if (next === '\\') parts.push(next)
    else if (/^\d$/.test(next)) parts.push(Number(next))
    else return undefined
    if (char === '\\') i++
  }
  return parts
}

/** Why a substitution cannot be used with a pattern (that can be compiled); undefined if it can. */
export function substitutionProblem(pattern: string, substitution: string): string | undefined {
  const parts = substitutionParts(substitution)
  if (parts === undefined) return 'a backslash must be followed by a digit or a backslash'
  const groups = RE2JS.compile(pattern).groupCount()
  const missing = parts.find((part) => typeof part === 'number' && part > groups)
  return missing === undefined ? undefined : `\\${missing} is not a group of the pattern`
}

/** Keeps the query. */
export function changedTarget(target: string, change: PathChange): string {
  const { path, query } = splitPath(target)
  return query === '' ? change(path) : `${change(path)}?${query}`
}

const schemePorts: ReadonlyMap<string, number> = new Map([
  ['http', 80],
  ['https', 443],
])

/** Where a redirect sends the client. What it does not say is as the client asked; a default port is not written. */
export function redirectLocation(redirect: Redirect, match: HttpMatch, request: RouteRequest): string {
  const scheme = redirect.scheme ?? request.scheme
  const asked = splitAuthority(request.authority)
  const host = redirect.host ?? asked.host
  const port = portOf(redirect, asked.port)
  const shown = port === undefined || port === schemePorts.get(scheme) ? '' : `:${port}`
  const target = redirectTarget(redirect.path, match, request.path)
  return `${scheme}://${host}${shown}${target}`
}

/** A path that is said with a query of its own has no other (Envoy). */
function redirectTarget(path: Redirect['path'], match: HttpMatch, asked: string): string {
  if (path?.kind === 'full' && path.value.includes('?')) return rooted(path.value)
  return changedTarget(asked, path === undefined ? (same) => same : pathChange(path, match))
}

function portOf({ port }: Redirect, asked: number | undefined): number | undefined {
  if (typeof port === 'number') return port
  return port === 'request' ? asked : undefined
}

/** `host[:port]`, of which the host may be an IPv6 address in brackets. */
export function splitAuthority(authority: string): Readonly<{ host: string; port: number | undefined }> {
  const found = /^(.*):(\d{1,5})$/.exec(authority)
  if (found?.[1] === undefined || (found[1].includes(':') && !found[1].endsWith(']')))
    return { host: authority, port: undefined }
  return { host: found[1], port: Number(found[2]) }
}
