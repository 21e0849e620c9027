import t from 'tap'
import {
  type Caller,
  chooseL4,
  chooseRoute,
  explainRoute,
  type HttpRule,
  type L4Match,
  routeTable,
} from '../../../lib/routes/index.ts'
import { forward, noHeaders, request, rule, to } from './routes-kit.ts'

const choose = (rules: readonly HttpRule[], path = '/', caller: Caller = {}, random = 0) =>
  chooseRoute(routeTable({ http: rules }), request(path), caller, () => random)

t.test('destinations are drawn by weight', async (t) => {
  const three = forward('a', 'b', 'c')
  const weights = [90, 10, 0]
  const destinations = three.destinations.map((one, i) => ({ ...one, weight: weights[i] ?? 0 }))
  const table = routeTable({ http: [rule('r', {}, { ...three, destinations })] })
  const drawn: Record<string, number> = {}
  for (let i = 0; i < 1_000; i++) {
    const choice = chooseRoute(table, request('/'), {}, () => i / 1_000)
    const name = choice.kind === 'forward' ? choice.to.service.slice(5, 6) : choice.kind
    drawn[name] = (drawn[name] ?? 0) + 1
  }
  t.strictSame(drawn, { a: 900, b: 100 })
})

t.test('a share that leads nowhere stays a share', async (t) => {
  const two = forward('a', 'b')
  const gone = { kind: 'invalid', status: 500, reason: 'no Service shop/b' } as const
  const destinations = two.destinations.map((one, i) => (i === 1 ? { ...one, to: gone } : one))
  const rules = [rule('r', {}, { ...two, destinations })]
  t.match(choose(rules, '/', {}, 0.49), { kind: 'forward' })
  t.match(choose(rules, '/', {}, 0.5), { kind: 'refuse', status: 500, reason: 'no Service shop/b' })
  const subset = [{ ...destinations[0], weight: 1, to: { ...gone, status: 503, flag: 'NC' as const } }]
  const named = subset.map((one) => ({ requestHeaders: noHeaders, responseHeaders: noHeaders, ...one }))
  t.match(choose([rule('r', {}, { ...two, destinations: named })]), {
    kind: 'refuse',
    status: 503,
    flag: 'NC',
  })
})

t.test('without a destination to draw the answer is 500', async (t) => {
  const none = { ...forward(), destinations: [] }
  const zero = {
    ...forward('a'),
    destinations: forward('a').destinations.map((one) => ({ ...one, weight: 0 })),
  }
  for (const action of [none, zero]) t.match(choose([rule('r', {}, action)]), { kind: 'refuse', status: 500 })
})

t.test('what a rule says is handed on, and what one destination says comes before it', async (t) => {
  const base = forward('a')
  const [one] = base.destinations
  if (!one) throw new Error('there is one')
  const rewrite = { authority: 'rule', path: { kind: 'full', value: '/rule' } } as const
  const own = { ...one, rewrite: { authority: 'own' } }
  const choice = choose([rule('r', {}, { ...base, rewrite, destinations: [own] })])
  t.match(choice, { kind: 'forward', authority: 'own' })
  t.equal(choice.kind === 'forward' && choice.path?.('/x'), '/rule')
  const redirect = { kind: 'redirect', status: 302, port: 'request' } as const
  t.match(choose([rule('r', {}, { ...base, destinations: [{ ...one, redirect }] })]), {
    kind: 'redirect',
    redirect,
    destination: { weight: 1 },
  })
  t.match(choose([rule('r', {}, redirect)]), { kind: 'redirect', redirect })
  const body = Buffer.from('hello')
  t.match(choose([rule('r', {}, { kind: 'respond', status: 418, body: body.toString('base64') })]), {
    kind: 'respond',
    body,
  })
  t.strictSame(choose([]), { kind: 'not-found' })
  t.match(choose([rule('r', {}, { kind: 'not-found' }), rule('s', {})]), {
    kind: 'not-found',
    rule: { name: 'r' },
  })
})

t.test('callers are known by their identity, and unknown ones match nothing', async (t) => {
  const rules = [
    rule('namespace', { source: { namespace: 'shop' } }),
    rule('labels', { source: { labels: { app: 'a' } } }),
    rule('principal', { source: { principal: 'spiffe://c/ns/x/sa/y' } }),
    rule('not shop', {
      claims: [{ path: ['group'], value: { kind: 'exact', value: 'shop' }, negated: true }],
    }),
    rule('claim', { claims: [{ path: ['realm', 'roles'], value: { kind: 'exact', value: 'admin' } }] }),
  ]
  const name = (caller: Caller) => choose(rules, '/', caller).rule?.name
  t.equal(name({ namespace: 'shop' }), 'namespace')
  t.equal(name({ namespace: 'bank', label: (key) => (key === 'app' ? 'a' : '') }), 'labels')
  t.equal(name({ label: () => '', principal: 'spiffe://c/ns/x/sa/y' }), 'principal')
  t.equal(name({}), 'not shop')
  t.equal(name({ claims: { group: 'shop', realm: { roles: ['user', 'admin'] } } }), 'claim')
  t.equal(name({ claims: { group: ['x', 'shop'], realm: { roles: 'user' } } }), undefined)
})

t.test('an explanation names the first part that does not hold', async (t) => {
  const rules = [
    rule('a', {
      path: { kind: 'segments', value: '/a' },
      headers: [{ name: 'x', value: { kind: 'present' } }],
    }),
    rule('b', {
      headers: [{ name: 'x', value: { kind: 'exact', value: '1' }, negated: true }],
      query: [{ name: 'q', value: { kind: 'prefix', value: 'z' } }],
    }),
    rule('c', {}),
    rule('d', {}),
  ]
  const told = explainRoute(routeTable({ http: rules }), request('/a'), {}).map(({ matches, because = '' }) =>
    `${matches} ${because}`.trim(),
  )
  t.strictSame(told, ['false not header x present', 'false not query parameter q prefix "z"', 'true'])
})

t.test('connections go by SNI and caller', async (t) => {
  const l4 = (name: string, match: L4Match, ...services: string[]) => ({
    name,
    origin: { kind: 'TLSRoute', name: 'shop/l' } as const,
    match,
    destinations: services.map((service) => ({ weight: 1, to: to(service) })),
  })
  const rules = [
    l4('exact', { sni: ['a.example.com'] }, 'a'),
    l4('below', { sni: ['*.example.com'] }, 'a', 'b'),
    l4('bank', { source: { namespace: 'bank' } }, 'b'),
    l4('nowhere', { sni: ['*'] }),
  ]
  const name = (sni?: string, caller: Caller = {}) => {
    const choice = chooseL4({ l4: rules }, sni, caller, () => 0.9)
    return `${choice.kind} ${choice.rule?.name ?? choice.kind}`
  }
  t.equal(name('A.example.com'), 'forward exact')
  t.equal(name('x.y.example.com'), 'forward below')
  t.equal(name('example.com'), 'refuse nowhere')
  t.equal(name(undefined, { namespace: 'bank' }), 'forward bank')
  t.equal(name(), 'refuse refuse')
})

t.test('connections are shared out by weight, and a share of nobody stays one', async (t) => {
  const origin = { kind: 'TCPRoute', name: 'shop/l' } as const
  const missing = { kind: 'invalid', status: 500, reason: 'no such service' } as const
  const shared = {
    name: 'shared',
    origin,
    match: {},
    destinations: [
      { weight: 0, to: to('none') },
      { weight: 70, to: to('most') },
      { weight: 20, to: to('some') },
      { weight: 10, to: missing },
    ],
  }
  const got = (draw: number) => {
    const choice = chooseL4({ l4: [shared] }, undefined, {}, () => draw)
    return choice.kind === 'forward' ? choice.to : choice.reason
  }
  t.strictSame([0, 0.69, 0.71, 0.89].map(got), [to('most'), to('most'), to('some'), to('some')])
  t.strictSame([0.91, 0.999].map(got), [missing.reason, missing.reason])
})

t.test('a thousand routes cost about as much as one', async (t) => {
  const many = Array.from({ length: 1_000 }, (_, i) =>
    rule(`r${i}`, { path: { kind: 'segments', value: `/api/v1/item-${i}` } }),
  )
  const one = many.slice(-1)
  const asked = request('/api/v1/item-999/sub?x=1')
  const measure = (rules: readonly HttpRule[]) => {
    const table = routeTable({ http: rules })
    let checked = 0
    const counted = {
      ...table,
      matches: {
        ...table.matches,
        checks: table.matches.checks.map((checks) =>
          checks.map((check) => ({
            ...check,
            holds: (q: Parameters<typeof check.holds>[0]) => (checked++, check.holds(q)),
          })),
        ),
      },
    }
    t.equal(chooseRoute(counted, asked, {}, Math.random).rule?.name, 'r999')
    return checked
  }
  // Counted, not timed: the machine that runs this may be busy.
  t.equal(measure(one), 1)
  t.equal(measure(many), 1)
})

t.test('the header Upgrade is what the request wants to become', async (t) => {
  const socket = { headers: [{ name: 'upgrade', value: { kind: 'exact', value: 'websocket' } } as const] }
  const table = routeTable({ http: [rule('socket', socket), rule('rest', {})] })
  const names = (upgrade?: string) => {
    const choice = chooseRoute(table, { ...request('/'), upgrade }, {}, () => 0)
    return 'rule' in choice ? choice.rule.name : choice.kind
  }
  t.equal(names('websocket'), 'socket')
  t.equal(names(), 'rest')
})

t.test('the header Host is the authority, wherever the version of HTTP has it', async (t) => {
  const host = (value: string, more: object = {}) => ({
    headers: [{ name: 'host', value: { kind: 'exact', value }, ...more } as const],
  })
  const names = (rules: readonly HttpRule[], authority: string) => {
    const choice = chooseRoute(routeTable({ http: rules }), { ...request('/'), authority }, {}, () => 0)
    return 'rule' in choice ? choice.rule.name : choice.kind
  }
  const few = [rule('a', host('a.example')), rule('not b', host('b.example', { negated: true }))]
  t.equal(names(few, 'a.example'), 'a')
  t.equal(names(few, 'c.example'), 'not b')
  t.equal(names(few, 'b.example'), 'not-found')
  const many = Array.from({ length: 100 }, (_, i) => rule(`r${i}`, host(`h${i}.example`)))
  t.equal(names(many, 'h42.example'), 'r42', 'of many, which are found by an index')
})
