import { apiVersionOf, type KindType } from '../types/index.ts'
import { resourceOf } from '../rest/kinds.ts'

type Resource = Readonly<{
  name: string
  kind: string
  group?: string
  version?: string
  verbs: readonly string[]
}>

const storedVerbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
const partVerbs = ['get', 'patch', 'update']

/** Subresources that are neither status nor scale, by resource. */
const parts: Readonly<Record<string, readonly Resource[]>> = {
  pods: [
    { name: 'attach', kind: 'PodAttachOptions', verbs: ['create', 'get'] },
    { name: 'binding', kind: 'Binding', verbs: ['create'] },
    { name: 'eviction', kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] },
    { name: 'exec', kind: 'PodExecOptions', verbs: ['create', 'get'] },
    { name: 'log', kind: 'Pod', verbs: ['get'] },
    { name: 'portforward', kind: 'PodPortForwardOptions', verbs: ['create', 'get'] },
  ],
  serviceaccounts: [
    { name: 'token', kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: ['create'] },
  ],
  namespaces: [{ name: 'finalize', kind: 'Namespace', verbs: ['update'] }],
}

/** The subresources of a kind, with their names. */
function subresourcesOf(kind: KindType): readonly Resource[] {
  const status: readonly Resource[] = kind.status
    ? [{ name: 'status', kind: kind.kind, verbs: partVerbs }]
    : []
  const scale: readonly Resource[] =
    kind.scale === undefined
      ? []
      : [{ name: 'scale', kind: 'Scale', group: 'autoscaling', version: 'v1', verbs: partVerbs }]
  return [...(parts[resourceOf(kind)] ?? []), ...scale, ...status]
}

const verbsOf = (kind: KindType): readonly string[] => (kind.virtual ? ['create'] : storedVerbs)

type Group = Readonly<{ name: string; versions: readonly string[] }>

/** Named groups with their versions, the storage version first, else in the order of the kinds. */
export function groupsOf(kinds: readonly KindType[]): readonly Group[] {
  const groups = new Map<string, string[]>()
  for (const { group, version } of kinds) {
    const versions = groups.get(group) ?? []
    if (!versions.includes(version)) versions.push(version)
    groups.set(group, versions)
  }
  return [...groups].map(([name, versions]) => ({ name, versions: versions.sort(byPriority) }))
}

/** v2 before v1 before v1beta2 before v1alpha1, anything else last by name (Kubernetes: version.CompareKubeAwareVersionStrings). */
export function byPriority(a: string, b: string): number {
  const [left, right] = [rank(a), rank(b)]
  for (const [index, value] of left.entries()) {
    const other = right[index] ?? 0
    if (value !== other) return other - value
  }
  return a < b ? -1 : a > b ? 1 : 0
}

function rank(version: string): readonly number[] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version)
  if (!match) return [0, 0, 0]
  const [, major, stage, minor] = match
  const stability = stage === undefined ? 3 : stage === 'beta' ? 2 : 1
  return [stability, Number(major), Number(minor ?? 0)]
}

const inGroup = (kinds: readonly KindType[], group: string, version: string) =>
  kinds.filter((kind) => kind.group === group && kind.version === version)

/** GET /api */
export const coreVersions = () => ({
  kind: 'APIVersions',
  versions: ['v1'],
  serverAddressByClientCIDRs: [],
})

/** GET /apis */
export const groupList = (kinds: readonly KindType[]) => ({
  kind: 'APIGroupList',
  apiVersion: 'v1',
  groups: groupsOf(kinds)
    .filter(({ name }) => name !== '')
    .map(groupDocument),
})

/** GET /apis/G */
export function groupDocument({ name, versions }: Group) {
  const listed = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }))
  return { kind: 'APIGroup', apiVersion: 'v1', name, versions: listed, preferredVersion: listed[0] }
}

/** GET /api/v1, /apis/G/V; undefined when nothing of that version is served. */
export function resourceList(kinds: readonly KindType[], group: string, version: string) {
  const here = inGroup(kinds, group, version)
  if (here.length === 0) return undefined
  const groupVersion = group === '' ? version : `${group}/${version}`
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources: here.flatMap(legacyResources) }
}

function legacyResources(kind: KindType): readonly object[] {
  const { plural, singular, namespaced, shortNames, categories } = kind
  const own = {
    name: plural,
    singularName: singular,
    namespaced,
    kind: kind.kind,
    verbs: verbsOf(kind),
    ...(shortNames.length === 0 ? {} : { shortNames }),
    ...(categories.length === 0 ? {} : { categories }),
    ...(kind.virtual ? {} : { storageVersionHash: hashOf(kind) }),
  }
  const others = subresourcesOf(kind).map(({ name, ...part }) => ({
    name: `${plural}/${name}`,
    singularName: '',
    namespaced,
    ...part,
  }))
  return [own, ...others]
}

const hashOf = (kind: KindType): string =>
  Buffer.from(`${apiVersionOf(kind)}/${kind.kind}`)
    .toString('base64')
    .slice(0, 12)

/** Aggregated discovery (v2): every resource of one root in one answer. */
export function aggregated(kinds: readonly KindType[], root: 'api' | 'apis') {
  const groups = groupsOf(kinds).filter(({ name }) => (name === '') === (root === 'api'))
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map(({ name, versions }) => ({
      metadata: name === '' ? {} : { name },
      versions: versions.map((version) => ({
        version,
        resources: inGroup(kinds, name, version).map(aggregatedResource),
        freshness: 'Current',
      })),
    })),
  }
}

function aggregatedResource(kind: KindType): object {
  const { group, version, plural, singular, namespaced, shortNames, categories } = kind
  const subresources = subresourcesOf(kind).map((part) => ({
    subresource: part.name,
    responseKind: { group: part.group ?? group, version: part.version ?? version, kind: part.kind },
    verbs: part.verbs,
  }))
  return {
    resource: plural,
    responseKind: { group, version, kind: kind.kind },
    scope: namespaced ? 'Namespaced' : 'Cluster',
    singularResource: singular,
    verbs: verbsOf(kind),
    ...(shortNames.length === 0 ? {} : { shortNames }),
    ...(categories.length === 0 ? {} : { categories }),
    ...(subresources.length === 0 ? {} : { subresources }),
  }
}
