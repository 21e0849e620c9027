import { isIP } from 'node:net'
import { RE2JS } from 're2js'
import { parseCidr } from '#base'
import {
  type At,
  type Check,
  fields,
  type Fields,
  into,
  isThere,
  listAt,
  refuse,
  shown,
  warn,
} from './check.ts'

const labelPattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const hostLabelPattern = /^[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?$/i
const firstLabelPattern = /^(\*|(\*-?)?[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)$/i
const maxHostChars = 255

const isLabel = (value: unknown): value is string => typeof value === 'string' && labelPattern.test(value)

/** A name as that of a namespace or of a subset. */
export const label: Check = (value, at) => {
  if (!isLabel(value))
    refuse(at, `${shown(value)} is not a name; lower-case letters, digits and - , at most 63`)
}

/** A host name, perhaps with `*` as (the start of) its first label. */
export function isHost(value: unknown, wildcard: boolean): value is string {
  if (typeof value !== 'string' || value.length === 0 || value.length > maxHostChars) return false
  const [first = '', ...rest] = value.replace(/\.$/, '').split('.')
  const all = [first, ...rest].every((one) => one.length <= 63)
  return (
    all &&
    (wildcard ? firstLabelPattern : hostLabelPattern).test(first) &&
    rest.every((one) => hostLabelPattern.test(one))
  )
}

export const host =
  ({ wildcard = false, address = false }: Readonly<{ wildcard?: boolean; address?: boolean }> = {}): Check =>
  (value, at) => {
    if (address && typeof value === 'string' && isIP(value) !== 0) return
    if (!isHost(value, wildcard))
      refuse(
        at,
        `${shown(value)} is not a host name${wildcard ? ', nor one that starts with *' : ''}${address ? ', nor an IP address' : ''}`,
      )
  }

/** `*` and `*.x` cover names; of two patterns, whether the first covers all of the second. */
export function covers(pattern: string, name: string): boolean {
  if (pattern === name || pattern === '*') return true
  return pattern.startsWith('*') && name.length > pattern.length - 1 && name.endsWith(pattern.slice(1))
}

export const port: Check = (value, at) => {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 65_535)
    refuse(at, `${shown(value)} is not a port; a number from 1 to 65535`)
}

export const address: Check = (value, at) => {
  if (typeof value !== 'string' || isIP(value) === 0) refuse(at, `${shown(value)} is not an IP address`)
}

export const subnet: Check = (value, at) => {
  if (typeof value !== 'string' || (isIP(value) === 0 && parseCidr(value) === undefined))
    refuse(at, `${shown(value)} is neither an IP address nor a block of them`)
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
}
const durationPattern = /^[+-]?((\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h))+$/

/** Milliseconds of `1.5s`, `100ms` or `1h30m`; undefined when it is none. */
export function durationMs(value: unknown): number | undefined {
  if (typeof value !== 'string' || value.length > 40) return undefined
  if (value === '0') return 0
  if (!durationPattern.test(value)) return undefined
  const parts = [...value.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)/g)]
  const ms = parts.reduce((sum, [, n, unit = '']) => sum + Number(n) * (unitMs[unit] ?? 0), 0)
  return value.startsWith('-') ? -ms : ms
}

/** Istio's are at least a millisecond. */
export const duration =
  ({ zero = false }: Readonly<{ zero?: boolean }> = {}): Check =>
  (value, at) => {
    const ms = durationMs(value)
    if (ms === undefined) refuse(at, `${shown(value)} is not a duration such as 1.5s or 100ms`)
    else if (!(ms >= 1 || (zero && ms === 0))) refuse(at, `${shown(value)} is too short; at least 1ms`)
  }

/** Also Envoy's bound on what a proxy is given to compile. */
const maxRegexChars = 1_024

/** By RE2, as it will be matched. */
export const regex: Check = (value, at) => {
  if (typeof value !== 'string' || value === '')
    return refuse(at, `${shown(value)} is not a regular expression`)
  if (value.length > maxRegexChars)
    return refuse(at, `has ${value.length} characters; a regular expression has at most ${maxRegexChars}`)
  const { notes } = at
  notes.regexCharsLeft -= value.length
  if (notes.regexCharsLeft < 0)
    return warn(at, 'not checked; there are too many regular expressions before it')
  try {
    RE2JS.compile(value)
  } catch (error) {
    const why =
      error instanceof Error ? error.message.replace(/\s+/g, ' ').slice(0, 120) : 'it cannot be read'
    refuse(at, `${shown(value)} is not a regular expression of RE2: ${why}`)
  }
}

/** exact, prefix or regex: one of them. */
export const stringMatch = fields({ exact: anyText, prefix: anyText, regex }, (value, at) => {
  const there = ['exact', 'prefix', 'regex'].filter((name) => isThere(value[name]))
  if (there.length > 1) refuse(at, `${there.join(' and ')} exclude each other; keep one`)
})

function anyText(value: unknown, at: At): void {
  if (typeof value !== 'string') refuse(at, `${shown(value)} is not a text`)
}

const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
export const isHeaderName = (name: string): boolean => tokenPattern.test(name)

const labelKeyPattern = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?$/
const labelValuePattern = /^([A-Za-z0-9]([-\w.]*[A-Za-z0-9])?)?$/

/** Labels as Kubernetes has them; values with `*` select nothing. */
export const labels: Check = (value, at) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse(at, `${shown(value)} is not a map of labels`)
  for (const [key, one] of Object.entries(value)) {
    const name = key.slice(key.lastIndexOf('/') + 1)
    if (!labelKeyPattern.test(key) || name.length > 63) refuse(into(at, key), 'is not the name of a label')
    if (typeof one !== 'string' || one.length > 63 || !labelValuePattern.test(one))
      refuse(into(at, key), `${shown(one)} is not the value of a label`)
  }
}

/** `https://x/y` with one of these schemes. */
export const url =
  (...schemes: readonly string[]): Check =>
  (value, at) => {
    const parsed = typeof value === 'string' ? URL.parse(value) : null
    if (
      parsed === null ||
      !schemes.includes(parsed.protocol.slice(0, -1)) ||
      (parsed.host === '' && parsed.protocol !== 'file:')
    )
      refuse(at, `${shown(value)} is not a URL of ${schemes.join(', ')}`)
  }

/** Where an object is seen from: `*`, `.`, `~` or namespaces. */
export const exportTo: Check = (value, at) => {
  if (!Array.isArray(value)) return refuse(at, `${shown(value)} is not a list`)
  for (const [n, one] of value.entries()) {
    if (!['*', '.', '~'].includes(String(one)) && !isLabel(one))
      refuse(into(at, n), `${shown(one)} is neither a namespace nor one of * . ~`)
    if (value.indexOf(one) < n) refuse(into(at, n), `${shown(one)} is there twice`)
  }
  for (const alone of ['*', '~'])
    if (value.includes(alone) && value.length > 1)
      refuse(at, `${alone} says everything; leave the others out`)
}

/** Names of gateways: `name`, `namespace/name`, `mesh`. */
export const gatewayName: Check = (value, at) => {
  const parts = typeof value === 'string' ? value.split('/') : []
  const isGood =
    parts.length === 1
      ? isHost(parts[0], false)
      : parts.length === 2 && isLabel(parts[0]) && isHost(parts[1], false)
  if (!isGood) refuse(at, `${shown(value)} is not a gateway; name or namespace/name, or mesh`)
}

/** `namespace/host` as Gateways and Sidecars have it. */
export const scopedHost =
  ({ needed, scopes }: Readonly<{ needed: boolean; scopes: readonly string[] }>): Check =>
  (value, at) => {
    const parts = typeof value === 'string' ? value.split('/') : []
    const [scope, name] = parts.length === 1 && !needed ? ['*', parts[0]] : parts
    const isGood = parts.length <= 2 && (scopes.includes(scope ?? '') || isLabel(scope)) && isHost(name, true)
    if (!isGood) refuse(at, `${shown(value)} is not namespace/host; the namespace may be ${scopes.join(' ')}`)
  }

/** Weights of several destinations; one alone may leave its own out. */
export function weightsOf(value: Fields, name: string, at: At): void {
  const weights = listAt(value, name).map((one) =>
    typeof one === 'object' && one !== null && 'weight' in one ? one.weight : undefined,
  )
  const sum = weights.reduce<number>((total, weight) => total + (typeof weight === 'number' ? weight : 0), 0)
  if (weights.length > 1 && sum === 0)
    refuse(into(at, name), 'the weights add up to 0; nothing would be sent anywhere')
}
