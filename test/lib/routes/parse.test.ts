import { isDeepStrictEqual as isSame } from 'node:util'
import t from 'tap'
import { chooseL4, chooseRoute, parseServiceRoutes, routeTable } from '../../../lib/routes/index.ts'
import { forward, orderName, request, routes, rule, to } from './routes-kit.ts'

t.setTimeout(300_000) // thousands of payloads, on a machine that may be slow

const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
/** The routes with something put at a place of their JSON. */
const changed = (path: readonly (string | number)[], value: unknown) => {
  const json: unknown = JSON.parse(
    JSON.stringify(routes(rule('a', { path: { kind: 'segments', value: '/a' } }), rule('b', {}))),
  )
  let at = json as Record<string | number, unknown>
  for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, unknown>
  at[path.at(-1) ?? ''] = value
  return bytes(json)
}
const answer = (payload: Buffer, path: string) => {
  const parsed = parseServiceRoutes(orderName, payload)
  if (parsed.kind === 'unreadable') return parsed.problem
  const table = routeTable(parsed.routes.ports[0] ?? { http: [] })
  const choice = chooseRoute(table, request(path), {}, () => 0)
  switch (choice.kind) {
    case 'respond':
      return choice.action.status
    case 'refuse':
      return choice.status
    case 'forward':
      return choice.to.service
    default:
      return choice.kind
  }
}

t.test('what was written is read as it was', async (t) => {
  const written = routes(rule('a', { path: { kind: 'exact', value: '/a' } }), rule('b', {}))
  const parsed = parseServiceRoutes(orderName, bytes(written))
  t.strictSame(parsed, { kind: 'routes', routes: written, problems: [] })
})

const rules = ['ports', 0, 'http'] as const
const first = [...rules, 0] as const
const b = to('b').service
/** What is changed, and what `/a`, `/x` get then. */
const closed: readonly [string, readonly (string | number)[], unknown, string | number, string | number][] = [
  [
    'an unknown part of a match closes what the rest of the match is about',
    [...first, 'match', 'moon'],
    'full',
    500,
    b,
  ],
  [
    'an unknown kind of path closes everything that would have come to the rule',
    [...first, 'match', 'path'],
    { kind: 'glob', value: '/a' },
    500,
    500,
  ],
  [
    'an expression that cannot be compiled too',
    [...first, 'match', 'path'],
    { kind: 'regex', value: '(' },
    500,
    500,
  ],
  [
    'and one that looks ahead, which RE2 has not',
    [...first, 'match', 'path'],
    { kind: 'regex', value: '/(?=a).*' },
    500,
    500,
  ],
  [
    'an unknown part of a header match',
    [...first, 'match', 'headers'],
    [{ name: 'x', value: { kind: 'exact', value: '' }, when: 'noon' }],
    500,
    b,
  ],
  ['an unknown action', [...first, 'action', 'kind'], 'teleport', 500, b],
  ['an unknown part of an action', [...first, 'action', 'hurry'], true, 500, b],
  [
    'a header that is not for routes to write',
    [...first, 'requestHeaders', 'set'],
    [{ name: 'content-length', value: '0' }],
    500,
    b,
  ],
  [
    'a header value with a line in it',
    [...first, 'responseHeaders', 'add'],
    [{ name: 'x', value: 'a\r\nb: c' }],
    500,
    b,
  ],
  ['a host with a line in it', [...first, 'action', 'rewrite'], { authority: 'a\r\nb: c' }, 500, b],
  [
    'a path with a blank in it',
    [...first, 'action', 'rewrite'],
    { path: { kind: 'full', value: '/a HTTP/1.1' } },
    500,
    b,
  ],
  ['a retry condition that nobody knows', [...first, 'action', 'retry', 'on'], ['5xx', 'tuesday'], 500, b],
  ['half a millisecond', [...first, 'action', 'timeoutMs'], 0.5, 500, b],
  ['a weight below 0', [...first, 'action', 'destinations', 0, 'weight'], -1, 500, b],
  ['a fault of more than all', [...first, 'fault'], { delay: { ppm: 1_000_001, delayMs: 1 } }, 500, b],
  ['a match that is null', [...first, 'match'], null, 500, 500],
  ['a rule that is a number', [...first], 7, 500, 500],
  [
    'a policy that cannot be read closes its destination',
    ['policies', 0, 'loadBalancer'],
    { kind: 'psychic' },
    500,
    b,
  ],
  ['a policy of an unknown part too', ['policies', 0, 'speed'], 9, 500, b],
  ['and a policy that is missing', ['policies'], [], 500, 500],
  ['an unknown protocol closes the port', ['ports', 0, 'protocol'], 'quic', 500, 500],
  ['an unknown part of a port too', ['ports', 0, 'tls'], {}, 500, 500],
  ['an unknown spelling of paths closes the port', ['ports', 0, 'paths'], 'any', 500, 500],
]
t.test('whatever is not understood is refused, never ignored, and told', async (t) => {
  for (const [title, path, value, a, other] of closed) {
    const payload = changed(path, value)
    t.strictSame([answer(payload, '/a'), answer(payload, '/x')], [a, other], title)
    const parsed = parseServiceRoutes(orderName, payload)
    t.ok(
      parsed.kind === 'routes' && parsed.problems.length > 0,
      `${title}: ${JSON.stringify(parsed.kind === 'routes' && parsed.problems)}`,
    )
  }
})

t.test('a payload of which nothing can be used is no routes at all', async (t) => {
  const one = routes(rule('a', {}))
  for (const [title, payload] of [
    ['no JSON', bytes('{')],
    ['no UTF-8', Buffer.from([0x7b, 0xff])],
    ['not an object', bytes('[]')],
    ['of another version', bytes({ ...one, version: 2 })],
    ['about another service', bytes({ ...one, service: 'bank/x' })],
    ['with more than we know', bytes({ ...one, also: 1 })],
    ['without ports', bytes({ ...one, ports: undefined })],
    ['a port without a number', bytes({ ...one, ports: [{ ...one.ports[0], port: 0 }] })],
    ['a port twice', bytes({ ...one, ports: [one.ports[0], one.ports[0]] })],
    [
      'too many rules',
      bytes({ ...one, ports: [{ ...one.ports[0], http: Array.from({ length: 20_001 }, () => 1) }] }),
    ],
  ] as const)
    t.equal(parseServiceRoutes(orderName, payload).kind, 'unreadable', title)
})

t.test('a rule for connections that cannot be read resets them', async (t) => {
  const l4 = {
    name: 'l',
    origin: { kind: 'TCPRoute', name: 'shop/l' },
    match: {},
    destinations: [{ weight: 1, to: to('a') }],
  }
  const one = routes(rule('a', {}))
  const read = (rules: unknown) => {
    const parsed = parseServiceRoutes(orderName, bytes({ ...one, ports: [{ ...one.ports[0], l4: rules }] }))
    return parsed.kind === 'routes'
      ? chooseL4(parsed.routes.ports[0] ?? { l4: [] }, undefined, {}, () => 0).kind
      : 'unreadable'
  }
  t.equal(read([l4]), 'forward')
  t.equal(read([{ ...l4, match: { alpn: ['h2'] } }, l4]), 'refuse')
  t.equal(read([{ ...l4, destinations: [{ weight: 1, to: to('c') }] }]), 'refuse', 'no policy')
})

t.test('hostile payloads neither throw nor open anything', async (t) => {
  const text = JSON.stringify(routes(rule('a', { path: { kind: 'exact', value: '/a' } }, forward('a', 'b'))))
  const chosen: Record<string, number> = {}
  let seed = 7
  const next = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
    return seed % below
  }
  for (let i = 0; i < 3_000; i++) {
    const mutated = Buffer.from(text)
    for (let n = next(4) + 1; n > 0; n--) mutated[next(mutated.length)] = next(128)
    const parsed = parseServiceRoutes(orderName, mutated)
    if (parsed.kind === 'unreadable') continue
    // What could be read must be usable, and leads only where a policy says how.
    for (const port of parsed.routes.ports)
      for (const path of ['/a', '/other']) {
        const choice = chooseRoute(routeTable(port), request(path), {}, () => 0.5)
        chosen[choice.kind] = (chosen[choice.kind] ?? 0) + 1
        const said =
          choice.kind !== 'forward' ||
          parsed.routes.policies.some((one) => isSame(one.destination, choice.to))
        if (!said) t.fail(`without a policy: ${JSON.stringify(choice.kind === 'forward' && choice.to)}`)
        if (path === '/other' && choice.kind === 'forward' && mutated.includes('"/a"'))
          t.fail(`opened: ${mutated.toString()}`)
      }
  }
  t.ok(
    Object.values(chosen).every((n) => (n ?? 0) > 0) && (chosen['forward'] ?? 0) > 50,
    JSON.stringify(chosen),
  )
})
