import t from 'tap'
import {
  applyHeaderOps,
  type Cors,
  corsJudge,
  drawFault,
  drawMirrors,
  type HeaderOps,
  headerProblem,
  isDrawn,
  patternProblem,
} from '../../../lib/routes/index.ts'
import { forward, request, to } from './routes-kit.ts'

t.test('headers are set, added and removed', async (t) => {
  const told: string[] = []
  const headers = {
    set: (name: string, value: string) => void told.push(`set ${name}=${value}`),
    add: (name: string, value: string) => void told.push(`add ${name}=${value}`),
    delete: (name: string) => void told.push(`remove ${name}`),
  }
  const ops: HeaderOps = {
    set: [
      { name: 'a', value: '100%' },
      { name: 'b', value: '%REQ(x)%', template: true },
    ],
    add: [
      { name: 'c', value: 'none', template: true },
      { name: 'd', value: 'line', template: true },
    ],
    remove: ['e'],
  }
  const rendered = new Map([
    ['%REQ(x)%', 'filled'],
    ['line', 'a\nb: c'],
  ])
  applyHeaderOps(headers, ops, (template) => rendered.get(template))
  t.strictSame(
    told,
    ['set a=100%', 'set b=filled', 'remove e'],
    'what cannot be filled in, or makes a line of its own, is left out',
  )
})

t.test('headers that frame a message are not for routes', async (t) => {
  for (const name of [
    'host',
    'content-length',
    'transfer-encoding',
    'connection',
    'upgrade',
    'te',
    ':path',
    'X',
    'a b',
    '',
  ])
    t.ok(headerProblem(name), name)
  t.equal(headerProblem('x-a', 'any text; q=1'), undefined)
  for (const value of ['a\rb', 'a\0', ' a', 'a ', 'ä\u0100'])
    t.ok(headerProblem('x', value), JSON.stringify(value))
})

t.test('percentages of nothing, something and all', async (t) => {
  t.notOk(isDrawn(0, () => 0))
  t.ok(isDrawn(1, () => 0))
  t.notOk(isDrawn(1, () => 0.000_001))
  t.ok(isDrawn(1_000_000, () => 1))
  const fault = {
    delay: { ppm: 500_000, delayMs: 50 },
    abort: { ppm: 250_000, with: { kind: 'http', status: 503 } },
  } as const
  t.strictSame(
    drawFault(fault, () => 0.2),
    { delayMs: 50, abort: { kind: 'http', status: 503 } },
  )
  t.strictSame(
    drawFault(fault, () => 0.3),
    { delayMs: 50 },
  )
  t.strictSame(
    drawFault(fault, () => 0.7),
    { delayMs: 0 },
  )
  t.strictSame(
    drawFault(undefined, () => 0),
    { delayMs: 0 },
  )
  const mirrors = [
    { to: to('a'), ppm: 1_000_000 },
    { to: to('b'), ppm: 500_000 },
    { to: { kind: 'invalid', status: 500, reason: 'gone' }, ppm: 1_000_000 },
  ] as const
  t.strictSame(
    drawMirrors({ ...forward('c'), mirrors }, () => 0.6),
    [to('a')],
  )
})

const cors: Cors = {
  allowOrigins: [
    { kind: 'exact', value: 'https://a.example' },
    { kind: 'suffix', value: '.b.example' },
  ],
  allowMethods: ['GET', 'PUT'],
  allowHeaders: ['x-a', 'x-b'],
  exposeHeaders: ['x-c'],
  maxAgeSeconds: 60,
  allowCredentials: true,
  unmatchedPreflights: 'forward',
  wildcards: 'verbatim',
}
const ask = (policy: Cors, headers: Record<string, string>, method = 'GET') => {
  const decision = corsJudge(policy)(request('/', headers, { method }))
  return decision.kind === 'none'
    ? 'none'
    : `${decision.kind} ${decision.headers.map(([name, value]) => `${name.replace('access-control-', '')}=${value}`).join(' ')}`.trim()
}
t.test('CORS answers preflights and marks answers', async (t) => {
  const origin = 'https://a.example'
  const preflight = {
    origin,
    'access-control-request-method': 'PUT',
    'access-control-request-headers': 'x-z',
  }
  t.equal(ask(cors, {}), 'none', 'no origin')
  t.equal(ask(cors, { origin }), `forward allow-origin=${origin} allow-credentials=true expose-headers=x-c`)
  t.equal(
    ask(cors, { origin: 'https://x.b.example' }),
    'forward allow-origin=https://x.b.example allow-credentials=true expose-headers=x-c',
  )
  t.equal(ask(cors, { origin: 'https://evil' }), 'none')
  t.equal(
    ask(cors, preflight, 'OPTIONS'),
    `answer allow-origin=${origin} allow-credentials=true expose-headers=x-c allow-methods=GET,PUT allow-headers=x-a,x-b max-age=60`,
  )
  t.equal(
    ask(cors, { origin }, 'OPTIONS'),
    `forward allow-origin=${origin} allow-credentials=true expose-headers=x-c`,
    'OPTIONS that asks for nothing',
  )
  const evil = { ...preflight, origin: 'https://evil' }
  t.equal(ask(cors, evil, 'OPTIONS'), 'none')
  t.equal(ask({ ...cors, unmatchedPreflights: 'answer' }, evil, 'OPTIONS'), 'answer')
  const all: Cors = { ...cors, allowOrigins: [{ kind: 'any' }], allowMethods: ['*'], allowHeaders: ['*'] }
  t.match(ask(all, preflight, 'OPTIONS'), 'allow-methods=* allow-headers=*')
  t.match(
    ask({ ...all, wildcards: 'echo' }, preflight, 'OPTIONS'),
    `allow-origin=${origin} allow-credentials=true expose-headers=x-c allow-methods=PUT allow-headers=x-z`,
  )
})

t.test('expressions that cost too much are not taken', async (t) => {
  t.equal(patternProblem('/a/[^/]+'), undefined)
  t.match(patternProblem('a'.repeat(5_000)), /longer/)
  t.match(patternProblem('(a{500}){9}'), /./)
  t.match(patternProblem('('), /./)
  t.match(patternProblem('(?<=a)b'), /./)
})
