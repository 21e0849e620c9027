/** A name that the asked one may stand for; `cname` when the answer has to say which. */
type Alias = Readonly<{ name: string; cname: string | undefined }>

export type Place = Readonly<{
  /** Of the client. */
  namespace: string
  /** The cluster's domain, `cluster.local`. */
  domain: string
  /** Where the client's resolver completes names; by default as in a pod of Kubernetes. */
  search?: readonly string[] | undefined
}>

/** The search list that the kubelet gives a pod. */
const searchOf = ({ namespace, domain, search }: Place): readonly string[] =>
  search ?? [`${namespace}.svc.${domain}`, `svc.${domain}`, domain]

/**
 * Everything that a name may mean for a client, in the order in which it is tried: the name, what Kubernetes makes of
 * its short form, then the same for what is left when a search domain is taken off, for resolvers complete names before
 * they ask (ztunnel: dns/server.rs get_aliases).
 */
export function aliasesOf(name: string, place: Place): readonly Alias[] {
  const aliases = expansions(name, place).map((each): Alias => ({ name: each, cname: undefined }))
  for (const domain of searchOf(place)) {
    if (!name.endsWith(`.${domain}`)) continue
    const stripped = name.slice(0, -domain.length - 1)
    aliases.push(...expansions(stripped, place).map((each): Alias => ({ name: each, cname: stripped })))
  }
  return aliases
}

/** The name and the long forms of it as a Service's name, by its number of labels. */
function expansions(name: string, { namespace, domain }: Place): readonly string[] {
  const labels = name.split('.')
  const short = labels.length <= 4 && labels.at(-1) === 'svc' ? [`${name}.${domain}`] : []
  switch (labels.length) {
    case 1:
      return name === '' ? [name] : [name, `${name}.${namespace}.svc.${domain}`]
    case 2:
      return [name, `${name}.svc.${domain}`, `${name}.${namespace}.svc.${domain}`]
    case 3:
      return [name, ...short, `${name}.svc.${domain}`]
    case 4:
      return [name, ...short]
    default:
      return [name]
  }
}

/** Labels of the longest wildcard that is looked for; without a bound a name of 127 labels would cost 127 lookups per alias. */
const maxWildcardLabels = 16

/** `*.b.c`, `*.c` for `a.b.c`: the longest first. */
export function wildcardsOf(name: string): readonly string[] {
  const labels = name.split('.')
  const first = Math.max(1, labels.length - maxWildcardLabels)
  return labels.slice(first).map((_, index) => `*.${labels.slice(first + index).join('.')}`)
}
