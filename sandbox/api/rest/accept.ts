/** In which form a client wants objects. */
export type Form = 'object' | 'table' | 'metadata'
export type Accepted =
  | Readonly<{ kind: 'accepted'; form: Form; version: string; encoding: 'json' | 'yaml' }>
  | Readonly<{ kind: 'not-acceptable' }>

type Entry = Readonly<{ type: string; parameters: ReadonlyMap<string, string> }>

const forms: ReadonlyMap<string, Form> = new Map([
  ['Table', 'table'],
  ['PartialObjectMetadata', 'metadata'],
  ['PartialObjectMetadataList', 'metadata'],
])

/** First entry that can be served wins; protobuf is never sent, since every client that asks for it also takes JSON. */
export function negotiate(accept: string | undefined): Accepted {
  const entries = (accept ?? '*/*').split(',').map(parseEntry)
  for (const { type, parameters } of entries) {
    const encoding = encodingOf(type)
    if (encoding === undefined) continue
    const as = parameters.get('as')
    if (as === undefined) return { kind: 'accepted', form: 'object', version: 'v1', encoding }
    const form = forms.get(as)
    const version = parameters.get('v') ?? 'v1'
    if (form !== undefined && parameters.get('g') === 'meta.k8s.io' && ['v1', 'v1beta1'].includes(version))
      return { kind: 'accepted', form, version, encoding }
  }
  return { kind: 'not-acceptable' }
}

/** Whether aggregated discovery is wanted, and in which version. */
export function wantsAggregatedDiscovery(accept: string | undefined): boolean {
  return (accept ?? '')
    .split(',')
    .map(parseEntry)
    .some(
      ({ type, parameters }) =>
        type === 'application/json' &&
        parameters.get('g') === 'apidiscovery.k8s.io' &&
        parameters.get('v') === 'v2' &&
        parameters.get('as') === 'APIGroupDiscoveryList',
    )
}

function encodingOf(type: string): 'json' | 'yaml' | undefined {
  if (['application/json', '*/*', 'application/*'].includes(type)) return 'json'
  return type === 'application/yaml' ? 'yaml' : undefined
}

function parseEntry(text: string): Entry {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim())
  const pairs = parameters.map((part): [string, string] => {
    const equals = part.indexOf('=')
    return equals < 0 ? [part, ''] : [part.slice(0, equals).trim(), part.slice(equals + 1).trim()]
  })
  return { type: type.toLowerCase(), parameters: new Map(pairs) }
}
