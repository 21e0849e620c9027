import type { HeaderMatch, HttpMatch, PresenceMatch } from '#routes'
import type { Json } from './envoy-route.ts'

export const regexOf = (regex: string): Json => ({ regex })

/** What a rule matches, as Envoy's routes have it; claims and callers have no place there and are left out. */
export function envoyMatch({
  path,
  method,
  scheme,
  authority,
  headers = [],
  query = [],
  ignorePathCase,
}: HttpMatch): Json {
  const pseudo = (
    [
      [':method', method],
      [':scheme', scheme],
      [':authority', authority],
    ] as const
  ).flatMap(([name, value]) => (value === undefined ? [] : [headerMatch({ name, value })]))
  return {
    ...pathMatch(path),
    ...(ignorePathCase ? { case_sensitive: false } : {}),
    headers: [...headers.map(headerMatch), ...pseudo],
    query_parameters: query.map(({ name, value }) => ({ name, ...textMatch(value) })),
  }
}

function pathMatch(path: HttpMatch['path']): Json {
  switch (path?.kind) {
    case undefined:
      return { prefix: '/' }
    case 'exact':
      return { path: path.value }
    case 'prefix':
      return { prefix: path.value }
    case 'segments':
      return path.value === '/' || path.value === '' ? { prefix: '/' } : { path_separated_prefix: path.value }
    case 'regex':
      return { safe_regex: regexOf(path.value) }
  }
}

const headerMatch = ({ name, value, negated, missingIsEmpty }: HeaderMatch): Json => ({
  name,
  ...textMatch(value),
  ...(negated ? { invert_match: true } : {}),
  // One that is not there has another value, too; Envoy wants that said.
  ...(missingIsEmpty || (negated && value.kind !== 'present') ? { treat_missing_header_as_empty: true } : {}),
})

const textMatch = (match: PresenceMatch): Json =>
  match.kind === 'present'
    ? { present_match: true }
    : {
        string_match:
          match.kind === 'regex' ? { safe_regex: regexOf(match.value) } : { [match.kind]: match.value },
      }
