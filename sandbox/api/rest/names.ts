import type { KindType } from '../types/index.ts'
import type { Cause } from './refusal.ts'

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const maxNameLength = 253
const labelNamed = ['namespaces', 'services']
const rbacGroup = 'rbac.authorization.k8s.io'

/** Why `name` may not name an object of this kind; undefined when it may. */
export function nameFault({ group, plural }: KindType, name: string): Cause | undefined {
  const fault = (message: string): Cause => ({
    reason: 'FieldValueInvalid',
    field: 'metadata.name',
    message: `Invalid value: ${JSON.stringify(name)}: ${message}`,
  })
  if (group === rbacGroup)
    return name === '.' || name === '..' || /[/%]/.test(name)
      ? fault(`may not be '.' or '..' or contain '/' or '%'`)
      : undefined
  if (group === '' && labelNamed.includes(plural))
    return label.test(name)
      ? undefined
      : fault(
          "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        )
  return name.length <= maxNameLength && subdomain.test(name)
    ? undefined
    : fault(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
      )
}

const alphabet = 'bcdfghjklmnpqrstvwxz2456789'
const suffixLength = 5
const maxGeneratedPrefix = 58

/** Five characters that cannot make a word (Kubernetes: names/generate.go). */
export const randomSuffix = (random: () => number): string =>
  Array.from({ length: suffixLength }, () => alphabet[Math.floor(random() * alphabet.length)]).join('')

export const generateName = (prefix: string, random: () => number): string =>
  prefix.slice(0, maxGeneratedPrefix) + randomSuffix(random)
