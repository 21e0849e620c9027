/** The syntax of names, labels and annotations, with Kubernetes' own words for what is wrong. */
const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?'
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`
const QUALIFIED = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'
const CONFIG_KEY = '[-._a-zA-Z0-9]+'

const whole = (pattern: string) => new RegExp(`^(${pattern})$`)
const isLabel = whole(LABEL)
const isSubdomain = whole(SUBDOMAIN)
const isQualified = whole(QUALIFIED)
const isLabelValue = whole(`(${QUALIFIED})?`)
const isConfigKey = whole(CONFIG_KEY)

/** RFC 1123 label: namespaces, containers, volumes, services. */
export function labelNameError(text: string): string | undefined {
  if (text.length > 63) return 'must be no more than 63 characters'
  if (isLabel.test(text)) return undefined
  return (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end " +
    `with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '${LABEL}')`
  )
}

/** RFC 1123 subdomain: the name of most objects. */
export function subdomainError(text: string): string | undefined {
  if (text.length > 253) return 'must be no more than 253 characters'
  if (isSubdomain.test(text)) return undefined
  return (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start " +
    `and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${SUBDOMAIN}')`
  )
}

/** Names of roles may hold anything that fits into one path segment. */
export function pathSegmentError(text: string): string | undefined {
  if (text === '.' || text === '..') return `may not be '${text}'`
  const bad = ['/', '%'].find((each) => text.includes(each))
  return bad && `may not contain '${bad}'`
}

/** Keys of labels and annotations, names of finalizers: an optional prefix, a slash, a name. */
export function qualifiedNameError(text: string): string | undefined {
  const parts = text.split('/')
  const name = parts.at(-1) ?? ''
  if (parts.length > 2)
    return `a qualified name ${nameRule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`
  if (parts.length === 2 && subdomainError(parts[0] ?? ''))
    return parts[0] === '' ? 'prefix part must be non-empty' : `prefix part ${subdomainError(parts[0] ?? '')}`
  if (name === '') return 'name part must be non-empty'
  if (name.length > 63) return 'name part must be no more than 63 characters'
  return isQualified.test(name) ? undefined : `name part ${nameRule}`
}

const nameRule =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
  `(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '${QUALIFIED}')`

export function labelValueError(text: string): string | undefined {
  if (text.length > 63) return 'must be no more than 63 characters'
  if (isLabelValue.test(text)) return undefined
  return (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and " +
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
    `'(${QUALIFIED})?')`
  )
}

/** Keys of ConfigMaps and Secrets. */
export function configKeyError(text: string): string | undefined {
  if (text.length > 253) return 'must be no more than 253 characters'
  if (text === '.' || text === '..') return `may not be '${text}'`
  if (isConfigKey.test(text)) return undefined
  return (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  " +
    `or 'key-name', regex used for validation is '${CONFIG_KEY}')`
  )
}

/** IANA service name: the name of a container's port. */
export function portNameError(text: string): string | undefined {
  if (text.length > 15) return 'must be no more than 15 characters'
  if (!/^[-a-z0-9]+$/.test(text))
    return 'must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)'
  if (!/[a-z]/.test(text)) return 'must contain at least one letter (a-z)'
  if (text.includes('--')) return 'must not contain consecutive hyphens'
  return /^-|-$/.test(text) ? 'must not begin or end with a hyphen' : undefined
}
