/** What a URL path asks for. */
export type Route =
  | Readonly<{
      kind: 'resource'
      group: string
      version: string
      plural: string
      namespace: string | undefined
      name: string | undefined
      subresource: string | undefined
    }>
  | Readonly<{ kind: 'group-version'; group: string; version: string }>
  | Readonly<{ kind: 'group'; group: string }>
  | Readonly<{ kind: 'path'; path: string }>
  | Readonly<{ kind: 'reject'; reason: string }>

/** `/namespaces/x/status` is a subresource of the namespace; `/namespaces/x/pods` is not (Kubernetes: RequestInfo). */
const namespaceSubresources = ['status', 'finalize']

/** Pure: path → route. Everything that is neither a resource nor discovery of one group is a plain path. */
export function parseRoute(path: string): Route {
  const segments = decodeSegments(path)
  if (segments === undefined) return { kind: 'reject', reason: 'the path is not valid percent-encoding' }
  const [root, ...rest] = segments
  if (root === 'api') {
    const [version, ...inside] = rest
    if (version === undefined) return { kind: 'path', path: '/api' }
    return inside.length === 0 ? { kind: 'group-version', group: '', version } : resource('', version, inside)
  }
  if (root === 'apis') {
    const [group, version, ...inside] = rest
    if (group === undefined) return { kind: 'path', path: '/apis' }
    if (version === undefined) return { kind: 'group', group }
    return inside.length === 0 ? { kind: 'group-version', group, version } : resource(group, version, inside)
  }
  return { kind: 'path', path: `/${segments.join('/')}` }
}

function resource(group: string, version: string, inside: readonly string[]): Route {
  const [first = '', second, third] = inside
  const namespaced =
    first === 'namespaces' &&
    second !== undefined &&
    third !== undefined &&
    !namespaceSubresources.includes(third)
  const [plural = '', name, ...rest] = namespaced ? inside.slice(2) : inside
  const subresource = rest.length > 0 ? rest.join('/') : undefined
  return {
    kind: 'resource',
    group,
    version,
    plural,
    namespace: namespaced ? second : undefined,
    name,
    subresource,
  }
}

function decodeSegments(path: string): readonly string[] | undefined {
  try {
    return path
      .split('/')
      .filter((segment) => segment !== '')
      .map(decodeURIComponent)
  } catch {
    return undefined // a lone % or bytes that are no UTF-8
  }
}
