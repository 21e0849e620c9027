import t from 'tap'
import { describeError, parseFilter, startLogging } from '#telemetry'

const at = new Date('2026-11-21T10:00:00.123Z')
const record = (options: Parameters<typeof startLogging>[0] = {}) => {
  const lines: string[] = []
  return { lines, log: startLogging({ now: () => at, write: (line) => lines.push(line), ...options }) }
}

t.test('a plain line has five fields between tabs, in the order given', async (t) => {
  const { lines, log } = record()
  log.root('access').info('connection complete', {
    'src.addr': '10.0.0.1:1',
    'dst.addr': '[fd00::1]:15008',
    error: undefined,
    'src.identity': 'spiffe://cluster.local/ns/shop/sa/order',
    note: 'two words',
    bytes_sent: 7,
  })
  t.same(lines, [
    '2026-11-21T10:00:00.123000Z\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:1 dst.addr=[fd00::1]:15008 src.identity="spiffe://cluster.local/ns/shop/sa/order" note="two words" bytes_sent=7\n',
  ])
})

t.test('a value cannot forge a second line or a second field', async (t) => {
  const { lines, log } = record()
  log.root('x').error('bad', { header: 'a\nerror\tfake b=1' })
  t.equal(lines.length, 1)
  t.equal(lines[0]?.split('\n').length, 2)
  t.match(lines[0], /header="a\\nerror\\tfake b=1"\n$/)
})

t.test('json lines carry the same fields', async (t) => {
  const { lines, log } = record({ format: 'json' })
  log.root('access').warn('m', { a: 1, error: new Error('no') })
  t.same(JSON.parse(lines[0] ?? ''), {
    level: 'warn',
    time: '2026-11-21T10:00:00.123000Z',
    scope: 'access',
    message: 'm',
    a: 1,
    error: 'no',
  })
})

t.test('the most specific scope decides, and a new filter takes effect at once', async (t) => {
  const { lines, log } = record({ filter: 'error,ztunnel::proxy=debug,access=off' })
  const proxy = log.root('ztunnel').child('proxy')
  log.root('ztunnel').info('hidden')
  log.root('access').error('hidden')
  log.root('ztunnel::proxying').info('hidden')
  proxy.child('inbound').debug('shown')
  t.equal(lines.length, 1)
  log.setFilter('off')
  proxy.debug('hidden')
  t.equal(lines.length, 1)
  t.equal(proxy.enabled('error'), false)
  t.throws(() => log.setFilter('info,x=loud'), RangeError)
  t.equal(log.filter(), 'off')
  t.same(
    parseFilter('a=info,info,a::b=off').map(([scope]) => scope),
    ['a::b', 'a', ''],
  )
})

t.test('causes are told in one line', async (t) => {
  const error = new Error('outer', { cause: new Error('middle', { cause: 'root' }) })
  t.equal(describeError(error), 'outer: middle: root')
  t.equal(describeError('text'), 'text')
  t.equal(describeError(new Error('outer', { cause: { status: 503 } })), 'outer', 'facts are no words')
})

t.test('what deceives a terminal or a reader is shown as what it is', async (t) => {
  const odd = 'a\u009b31m \u202egnp\u2028x \u007f'
  for (const format of ['plain', 'json'] as const) {
    const { lines, log } = record({ format })
    log.root('access').info('refused', { authority: odd, error: new Error(odd) })
    t.match(lines[0], '\\u009b31m \\u202egnp\\u2028x \\u007f')
    t.notMatch(lines[0], /[\u007f-\u009f\u2028-\u202e]/)
    if (format === 'json') t.equal(JSON.parse(lines[0] ?? '').authority, odd)
  }
})
