/** A second reading of the model: rule by rule, part by part, with nothing in common with lib/routes but its types. */
import type {
  Caller,
  HeaderMatch,
  HttpMatch,
  HttpRule,
  PathMatch,
  PresenceMatch,
  RouteRequest,
} from '../../../lib/routes/index.ts'

const isText = (match: PresenceMatch, text: string): boolean => {
  switch (match.kind) {
    case 'present':
      return true
    case 'exact':
      return text === match.value
    case 'prefix':
      return text.slice(0, match.value.length) === match.value
    case 'suffix':
      return match.value === '' || text.slice(-match.value.length) === match.value
    case 'regex':
      return new RegExp(
        `^(?:${match.value.replace('(?i)', '')})$`,
        match.value.startsWith('(?i)') ? 'i' : '',
      ).test(text)
  }
}

const isPath = (match: PathMatch, path: string, ignoreCase: boolean): boolean => {
  if (match.kind === 'segments') {
    const wanted = match.value.split('/').filter((segment) => segment !== '')
    const given = path.split('/').slice(1)
    return wanted.every((segment, i) => given[i] === segment)
  }
  if (!ignoreCase || match.kind === 'regex') return isText(match, path)
  return isText({ kind: match.kind, value: match.value.toLowerCase() }, path.toLowerCase())
}

const isHeader = (match: HeaderMatch, request: RouteRequest): boolean => {
  let text = request.headers.joined(match.name)
  if (match.name === 'host') text = request.authority
  if (match.name === 'upgrade') text = request.upgrade
  if (text === undefined && match.missingIsEmpty === true) text = ''
  const is = text !== undefined && isText(match.value, text)
  return match.negated === true ? !is : is
}

function isMatch(match: HttpMatch, request: RouteRequest, caller: Caller): boolean {
  const url = new URL(`http://host${request.path}`)
  const path = request.path.split('?')[0] ?? ''
  if (match.path && !isPath(match.path, path, match.ignorePathCase === true)) return false
  if (match.method && !isText(match.method, request.method)) return false
  if (match.scheme && !isText(match.scheme, request.scheme)) return false
  if (match.authority && !isText(match.authority, request.authority)) return false
  if ((match.headers ?? []).some((header) => !isHeader(header, request))) return false
  for (const { name, value } of match.query ?? []) {
    const given = url.searchParams.get(name)
    if (given === null || !isText(value, given)) return false
  }
  const { source } = match
  if (source?.namespace !== undefined && source.namespace !== caller.namespace) return false
  if (source?.principal !== undefined && source.principal !== caller.principal) return false
  return Object.entries(source?.labels ?? {}).every(([key, value]) => caller.label?.(key) === value)
}

/** The number of the first rule that matches; -1 without any. */
export const naiveChoice = (rules: readonly HttpRule[], request: RouteRequest, caller: Caller): number =>
  rules.findIndex(({ match }) => isMatch(match, request, caller))
