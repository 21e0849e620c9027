import type { Fetch } from '#kube'
import type { HttpMatch, SourceMatch, TextMatch } from '#routes'
import { given } from './istio-fields.ts'
import type { ReadRule } from './istio-http.ts'
import type { ReadMatch } from './istio-matches.ts'
import { isVisibleIn } from './istio-object.ts'
import type { IstioTables } from './istio-tables.ts'
import type { VirtualService } from './istio-virtual-service.ts'

/** A rule as it is followed, and whose it is. */
export type OwnedRule = Readonly<{ owner: string; namespace: string; ownerName: string; rule: ReadRule }>

/** The rules for HTTP, with those of delegates in place of the rules that delegate to them. One level. */
export const effectiveRules = (
  root: VirtualService,
  fetch: Fetch,
  { virtualServices }: Pick<IstioTables, 'virtualServices'>,
): readonly OwnedRule[] =>
  root.http.flatMap((rule): readonly OwnedRule[] => {
    const { delegate } = rule
    const own = (problem?: string): OwnedRule => ({
      owner: root.key,
      namespace: root.namespace,
      ownerName: root.name,
      rule: problem === undefined ? rule : { ...rule, problems: [...rule.problems, problem] },
    })
    if (delegate === undefined || rule.problems.length > 0) return [own()]
    const key = `${delegate.namespace}/${delegate.name}`
    const to = fetch.one(virtualServices, key)
    if (to === undefined || !isVisibleIn(to, root.namespace))
      return [own(`${delegate.path}: there is no VirtualService ${key} to delegate to`)]
    if (to.hosts.length > 0) return [own(`${delegate.path}: ${key} has hosts of its own`)]
    return to.http.map((leaf) => ({
      owner: to.key,
      namespace: to.namespace,
      ownerName: to.name,
      rule: delegated(rule, leaf, key),
    }))
  })

function delegated(root: ReadRule, leaf: ReadRule, key: string): ReadRule {
  const both = root.matches.flatMap((outer) =>
    leaf.matches.map((inner) => ({ outer, inner, met: met(outer, inner) })),
  )
  const told = (why: string) => `delegate ${key} spec.http[${leaf.index}]: ${why}`
  const unclear = both.filter(({ met: one }) => one.kind === 'unclear')
  const apart = both.filter(({ met: one }) => one.kind === 'apart')
  const names = [root.name, leaf.name].filter((name) => name !== undefined)
  return {
    index: leaf.index,
    name: names.length === 0 ? undefined : names.join('-'),
    // What cannot be said closely is closed for all of the root's match.
    matches: both.flatMap(({ outer, met: one }) =>
      one.kind === 'both' ? [one.match] : one.kind === 'unclear' ? [outer] : [],
    ),
    delegate: undefined,
    parts: { ...root.parts, ...leaf.parts },
    problems: [
      ...leaf.problems.map(told),
      ...(leaf.delegate === undefined ? [] : [told('a delegate does not delegate')]),
      ...(unclear.length === 0 ? [] : [told('an expression cannot be joined with a match of the root')]),
    ],
    remarks: [
      ...root.remarks,
      ...leaf.remarks.map(told),
      ...(apart.length === 0 ? [] : [told('a match is outside that of the root, and matches nothing')]),
    ],
  }
}

type Met = Readonly<{ kind: 'both'; match: ReadMatch }> | Readonly<{ kind: 'apart' | 'unclear' }>

/** What both want. */
function met(outer: ReadMatch, inner: ReadMatch): Met {
  const parts = {
    path: narrowed(outer.match.path, inner.match.path),
    scheme: narrowed(outer.match.scheme, inner.match.scheme),
    method: narrowed(outer.match.method, inner.match.method),
    authority: narrowed(outer.match.authority, inner.match.authority),
  }
  const source = sourceOf(outer.match.source, inner.match.source)
  const portsApart = outer.port !== undefined && inner.port !== undefined && outer.port !== inner.port
  const kinds = Object.values(parts)
  if (portsApart || source === 'apart' || kinds.includes('apart')) return { kind: 'apart' }
  const casesDiffer =
    outer.match.path && inner.match.path && outer.match.ignorePathCase !== inner.match.ignorePathCase
  if (kinds.includes('unclear') || casesDiffer) return { kind: 'unclear' }
  const { headers: a = [], query: b = [], claims: c = [] } = outer.match
  const { headers: d = [], query: e = [], claims: f = [] } = inner.match
  const list = <T>(all: readonly T[]) => (all.length === 0 ? undefined : all)
  const names = [outer.name, inner.name].filter((name) => name !== undefined)
  const match: HttpMatch = given({
    ...(parts as Pick<HttpMatch, 'path' | 'scheme' | 'method' | 'authority'>),
    ignorePathCase: outer.match.ignorePathCase ?? inner.match.ignorePathCase,
    headers: list([...a, ...d]),
    query: list([...b, ...e]),
    claims: list([...c, ...f]),
    source,
  })
  return {
    kind: 'both',
    match: {
      index: inner.index,
      name: names.length === 0 ? undefined : names.join('-'),
      port: outer.port ?? inner.port,
      forMesh: outer.forMesh && inner.forMesh,
      match,
    },
  }
}

/** The inner one where it is within the outer (Istio's rule: a prefix and what starts with it). */
function narrowed<T extends Readonly<{ kind: TextMatch['kind'] | 'segments'; value: string }>>(
  outer: T | undefined,
  inner: T | undefined,
): T | 'apart' | 'unclear' | undefined {
  if (outer === undefined || inner === undefined) return outer ?? inner
  if (outer.kind === inner.kind && outer.value === inner.value) return inner
  if (outer.kind === 'regex' || inner.kind === 'regex') return 'unclear'
  return outer.kind === 'prefix' && inner.value.startsWith(outer.value) ? inner : 'apart'
}

function sourceOf(a: SourceMatch | undefined, b: SourceMatch | undefined): SourceMatch | 'apart' | undefined {
  if (a === undefined || b === undefined) return a ?? b
  if (a.namespace !== undefined && b.namespace !== undefined && a.namespace !== b.namespace) return 'apart'
  const [ours, theirs] = [a.labels ?? {}, b.labels ?? {}]
  if (Object.entries(ours).some(([key, value]) => (theirs[key] ?? value) !== value)) return 'apart'
  const labels = { ...ours, ...theirs }
  return given({
    namespace: a.namespace ?? b.namespace,
    labels: Object.keys(labels).length === 0 ? undefined : labels,
  })
}
