import { isRecord } from '#base'
import {
  type At,
  anything,
  type Check,
  type Fields,
  fields,
  filled,
  into,
  listAt,
  oneOf,
  present,
  refuse,
  required,
  shown,
} from './check.ts'
import { targeting } from './target-refs.ts'

const maxAccounts = 16
const namesOfAccounts = ['serviceAccounts', 'notServiceAccounts']

/** `{*}` is one segment, `{**}` any number of them and the last such word; neither is part of a segment. */
function isTemplate(path: string): boolean {
  const words = path.split('/').filter((segment) => /[{}]/.test(segment))
  return words.every((word, n) => word === '{*}' || (word === '{**}' && n === words.length - 1))
}

function together(source: Fields, at: At): void {
  const accounts = present(source, namesOfAccounts)
  const others = present(source, ['principals', 'notPrincipals', 'namespaces', 'notNamespaces'])
  if (accounts.length > 0 && others.length > 0)
    refuse(into(at, accounts[0] ?? ''), `cannot stand beside ${others.join(', ')}`)
  for (const name of accounts)
    if (listAt(source, name).length > maxAccounts)
      refuse(into(at, name), `has more than ${maxAccounts} entries`)
}

function templates(operation: Fields, at: At): void {
  for (const name of present(operation, ['paths', 'notPaths']))
    for (const [n, path] of listAt(operation, name).entries())
      if (typeof path === 'string' && !isTemplate(path))
        refuse(
          into(into(at, name), n),
          `${shown(path)}: {*} and {**} are whole segments, and no other comes after {**}`,
        )
}

/** What the reader of the rules does not look at: fields together. */
const rules: Check = (value, at) => {
  for (const [n, rule] of (Array.isArray(value) ? value : []).entries()) {
    if (!isRecord(rule)) continue
    const of = (name: string, inner: string, look: (part: Fields, at: At) => void) => {
      for (const [m, one] of listAt(rule, name).entries())
        if (isRecord(one) && isRecord(one[inner]))
          look(one[inner], into(into(into(into(at, n), name), m), inner))
    }
    of('from', 'source', together)
    of('to', 'operation', templates)
  }
}

/** Beside `collections/`, which reads the rules for real. */
export const authorizationPolicy: Check = fields(
  {
    selector: targeting.selector,
    targetRef: targeting.targetRef,
    targetRefs: targeting.targetRefs,
    rules,
    action: oneOf('ALLOW', 'DENY', 'AUDIT', 'CUSTOM'),
    provider: fields({ name: filled }),
  },
  (value, at) => {
    const { action, provider } = value
    if (action === 'CUSTOM') required(isRecord(provider) ? provider : {}, into(at, 'provider'), 'name')
    else if (isRecord(provider) && provider['name'] !== undefined && provider['name'] !== '')
      refuse(into(at, 'provider'), 'is asked with action CUSTOM only')
    if ((action === 'DENY' || action === 'CUSTOM') && listAt(value, 'rules').length === 0)
      refuse(into(at, 'rules'), `without any, ${action} never matches; [{}] matches everything`)
  },
)

/** Its modes and ports are read by `collections/`. */
export const peerAuthentication: Check = fields(
  { selector: targeting.selector, mtls: anything, portLevelMtls: anything },
  (value, at) => {
    const ports = value['portLevelMtls']
    if (isRecord(ports) && Object.keys(ports).length === 0)
      refuse(into(at, 'portLevelMtls'), 'says nothing; name a port or leave it out')
  },
)
