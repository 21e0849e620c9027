import t, { type Test } from 'tap'
import { findEnvoy } from '../helpers/envoy.ts'
import { cases, type Case } from './parity/cases.ts'
import { deviations } from './parity/deviations.ts'
import { type Side, sides } from './parity/sides.ts'

// The same requests to a waypoint and to a real Envoy with the same routes: what the client gets, what the application
// sees, how often it is tried, and what the access log says. What differs on purpose is in `parity/deviations.ts`.

const found = await findEnvoy()
const skip = 'missing' in found && found.missing
t.setTimeout(300_000)

const uuid = /^[0-9a-f]{8}-[0-9a-f-]{27}$/
/** Numbers of milliseconds, which are never the same. */
const times = new Set(['x-envoy-upstream-service-time', 'x-envoy-expected-rq-timeout-ms', 'grpc-timeout'])
function told(name: string, value: unknown): string {
  const text = typeof value === 'string' || typeof value === 'number' ? `${value}` : '-'
  if (text === '-') return text
  if (name.endsWith('_ms') || times.has(name)) return 'ms'
  if (name === 'transport_failure') return 'told'
  if (name === 'upstream_host') return text.replace(/:\d+$/, '')
  if (name === 'upstream_cluster') return text.replace(/.*\|([^|.]*)[^|]*$/, '$1')
  return uuid.test(text) ? 'uuid' : text
}
const headersOf = (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (name === 'date' ? [] : [[name, told(name, value)]])),
  )

const logged = [
  'method path protocol authority response_code response_flags response_code_details',
  'connection_termination_details bytes_received bytes_sent route_name request_id',
  'upstream_cluster upstream_host upstream_protocol transport_failure attempts grpc_status grpc_trailer',
  'response_ms response_tx_ms service_ms',
]
  .join(' ')
  .split(' ')

/** Everything that is compared of a case on one side. */
async function happened(side: Side, { name, send }: Case): Promise<unknown> {
  const from = side.logged()
  const got = await send(side.port)
  const line = await side.line(from, name)
  const seen = side.origin.seen(name)
  return {
    got: { ...got, headers: headersOf(got.headers) },
    seen: seen.map((one) => ({ ...one, headers: headersOf(one.headers) })),
    log: Object.fromEntries(logged.map((key) => [key, told(key, line[key])])),
  }
}

const isParent = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

/** Paths of what differs. */
function differences(a: unknown, b: unknown, path = ''): readonly string[] {
  if (!isParent(a) || !isParent(b)) return a === b ? [] : [path]
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...names].flatMap((name) => differences(a[name], b[name], path === '' ? name : `${path}.${name}`))
}

async function compare(t: Test, one: Case, [ours, envoys]: readonly [Side, Side]): Promise<void> {
  const [mine, theirs] = await Promise.all([happened(ours, one), happened(envoys, one)])
  const known = (deviations[one.name] ?? []).flatMap(({ paths }) => paths)
  const found = differences(mine, theirs)
  const same = t.strictSame([...found].sort(), [...known].sort(), one.name)
  if (!same) t.comment(JSON.stringify({ ours: mine, envoy: theirs }, null, 1))
}

t.test('a waypoint does what Envoy does', { skip }, async (t) => {
  if ('missing' in found) return
  const only = process.env['PARITY_CASE']
  const chosen = cases.filter(({ name }) => only === undefined || new RegExp(`^(${only})$`).test(name))
  const both = await sides(
    t,
    found.binary,
    chosen.flatMap(({ rules }) => rules),
  )
  for (const one of chosen) await compare(t, one, both)
})

t.test('every deviation is of a case, and has a reason', async (t) => {
  const names = new Set(cases.map(({ name }) => name))
  t.equal(names.size, cases.length, 'names are names')
  for (const [name, list] of Object.entries(deviations)) {
    t.ok(names.has(name), name)
    for (const { why, paths } of list) t.ok(why !== '' && paths.length > 0, name)
  }
})
