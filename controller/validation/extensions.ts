import { isRecord } from '#base'
import {
  type At,
  all,
  anything,
  type Check,
  type Fields,
  fields,
  filled,
  into,
  isThere,
  list,
  listAt,
  oneOf,
  needsOne,
  atMostOne,
  refuse,
  required,
  shown,
  text,
  warn,
  whole,
} from './check.ts'
import { port } from './formats.ts'
import { oneTargeting, targeting } from './target-refs.ts'

const schemes = ['oci:', 'http:', 'https:', 'file:']
/** Without a scheme it is an image. */
const source: Check = (value, at) => {
  filled(value, at)
  if (typeof value !== 'string' || !value.includes('://')) return
  const parsed = URL.parse(value)
  if (parsed === null || !schemes.includes(parsed.protocol))
    refuse(at, `${shown(value)} is not oci://, http(s):// or file://`)
}
const sha256: Check = (value, at) => {
  if (value !== '' && (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value)))
    refuse(at, `${shown(value)} is not a SHA-256: 64 characters 0-9 a-f`)
}

const maxName = 256
const maxValue = 2_048
const env = fields({ name: filled, value: text, valueFrom: oneOf('INLINE', 'HOST') }, (value, at) => {
  required(value, at, 'name')
  const { name, value: inline, valueFrom } = value
  if (typeof name === 'string' && name.length > maxName)
    refuse(into(at, 'name'), `has more than ${maxName} characters`)
  if (typeof inline === 'string' && inline.length > maxValue)
    refuse(into(at, 'value'), `has more than ${maxValue} characters`)
  if (valueFrom === 'HOST' && isThere(inline) && inline !== '')
    refuse(into(at, 'value'), 'comes from the host; leave it out')
})

const maxEnv = 256
const vmConfig = fields({ env: list(env, { most: maxEnv }) }, (value, at) => {
  const names = listAt(value, 'env').map((one) => (isRecord(one) ? one['name'] : undefined))
  for (const [n, name] of names.entries())
    if (name !== undefined && names.indexOf(name) < n)
      refuse(into(into(into(at, 'env'), n), 'name'), `${shown(name)} is there twice`)
})

const wasmFields = {
  url: source,
  sha256,
  imagePullPolicy: oneOf('UNSPECIFIED_POLICY', 'IfNotPresent', 'Always'),
  imagePullSecret: text,
  verificationKey: text,
  pluginConfig: anything,
  pluginName: text,
  failStrategy: oneOf('FAIL_CLOSE', 'FAIL_OPEN', 'FAIL_RELOAD'),
  vmConfig,
  type: oneOf('UNSPECIFIED_PLUGIN_TYPE', 'HTTP', 'NETWORK'),
}
const placing = {
  phase: oneOf('UNSPECIFIED_PHASE', 'AUTHN', 'AUTHZ', 'STATS'),
  priority: whole(-(2 ** 31), 2 ** 31 - 1),
  match: list(
    fields({
      mode: oneOf('UNDEFINED', 'CLIENT', 'SERVER', 'CLIENT_AND_SERVER'),
      ports: list(fields({ number: port }, (value, at) => required(value, at, 'number'))),
    }),
  ),
}
const notRun = (what: string) => (_: Fields, at: At) =>
  warn(at, `${what} are not run by the waypoints of this mesh; it has no effect`)

export const wasmPlugin: Check = fields({ ...targeting, ...wasmFields, ...placing }, (value, at) => {
  required(value, at, 'url')
  oneTargeting(value, at)
  notRun('Wasm modules')(value, at)
})

/** Of a script; Envoy compiles it for every worker. */
const maxScript = 65_536
const script: Check = (value, at) => {
  if (typeof value === 'string' && value.length > maxScript)
    refuse(at, `has ${value.length} characters; at most ${maxScript}`)
}
const code = ['wasm', 'lua']
export const trafficExtension: Check = fields(
  {
    ...targeting,
    ...placing,
    wasm: fields(wasmFields, (value, at) => required(value, at, 'url')),
    lua: fields({ inlineCode: all(filled, script) }, (value, at) => required(value, at, 'inlineCode')),
  },
  (value, at) => {
    needsOne(value, at, code)
    atMostOne(value, at, code)
    oneTargeting(value, at)
    notRun('extensions')(value, at)
  },
)
