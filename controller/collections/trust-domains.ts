import type { security } from '#wire'
import type { Settings } from './settings.ts'

/** In policies it stands for the mesh's own trust domain, whatever that is called (Istio: trustdomain.Bundle). */
const own = 'cluster.local'

/**
 * Rules in which whoever is named under one name of the mesh's trust domain is meant under all of them: identities keep
 * what they may and may not do while the trust domain is renamed. Patterns that leave the trust domain open stay.
 */
export function underAllNames(
  rules: readonly security.Rule[],
  { trustDomain, trustDomainAliases = [] }: Pick<Settings, 'trustDomain' | 'trustDomainAliases'>,
): readonly security.Rule[] {
  const names = [...new Set([trustDomain, ...trustDomainAliases])]
  if (names.every((name) => name === own)) return rules
  const all = (list: readonly security.StringMatch[]) => list.flatMap((one) => underEach(one, names))
  return rules.map((rule) => ({
    ...rule,
    clauses: rule.clauses.map((clause) => ({
      ...clause,
      matches: clause.matches.map((match) => ({
        ...match,
        principals: all(match.principals),
        notPrincipals: all(match.notPrincipals),
      })),
    })),
  }))
}

function underEach(match: security.StringMatch, names: readonly string[]): readonly security.StringMatch[] {
  const { matchType } = match
  if (matchType?.$case !== 'exact' && matchType?.$case !== 'prefix') return [match]
  const slash = matchType.value.indexOf('/')
  const [domain, rest] = [matchType.value.slice(0, slash), matchType.value.slice(slash)]
  if (slash < 0 || (domain !== own && !names.includes(domain))) return [match]
  return names.map((name) => ({ matchType: { $case: matchType.$case, value: `${name}${rest}` } }))
}
