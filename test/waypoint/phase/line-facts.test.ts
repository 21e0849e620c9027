import t from 'tap'
import { HeaderList } from '#http'
import type { Answer, Call } from '../../../waypoint/phase/call.ts'
import { factsOf } from '../../../waypoint/phase/line-facts.ts'

const host = {
  workload: { hostname: '', name: 'web-1', protocol: 'HBONE', identity: 'spiffe://a/ns/b/sa/c' },
}
const cluster = {
  service: { hostname: 'web.demo' },
  policy: { destination: { port: 80, subset: undefined } },
}

/** As much of a call as its line needs. */
const callOf = (given: object = {}): Call =>
  ({
    exchange: {
      version: 'HTTP/1.1',
      request: { headers: new HeaderList(['host', 'web', 'a', 'bc']) },
      marks: { startedAt: 1, requestEndedAt: 2, respondedAt: 3, endedAt: 5 },
      receivedBytes: 0,
      sentBytes: 0,
    },
    facts: {
      target: { kind: 'service', service: { key: 'demo/web.demo' } },
      local: { address: '10.0.0.1', port: 80 },
      client: { address: 'fd00::2', port: 1234 },
      peer: 'spiffe://a/ns/b/sa/client',
    },
    parts: { identity: 'spiffe://a/ns/b/sa/waypoint' },
    request: { method: 'GET', path: '/', scheme: 'http', authority: 'web', headers: new HeaderList() },
    flags: [],
    details: '',
    tries: 1,
    status: 200,
    sent: { cluster, host, to: { address: '10.0.0.3', port: 8080 } },
    ...given,
  }) as unknown as Call
const answer: Answer = { kind: 'local', status: 200, headers: HeaderList.of({ ab: 'cde' }), body: '' }
const lineOf = (given: object = {}) => factsOf(callOf(given), new Date(0), answer)

t.test('a line says where its own request went, wherever the one before it did', async (t) => {
  const sentTo = (address: string, port: number) => lineOf({ sent: { cluster, host, to: { address, port } } })
  t.match(lineOf(), {
    upstreamHost: '10.0.0.3:8080',
    upstreamCluster: 'inbound-vip|80|http|web.demo',
    downstreamLocalAddress: '10.0.0.1:80',
    downstreamRemoteAddress: '[fd00::2]:1234',
  })
  t.equal(sentTo('10.0.0.4', 8080).upstreamHost, '10.0.0.4:8080')
  t.equal(sentTo('10.0.0.4', 8081).upstreamHost, '10.0.0.4:8081')
  t.equal(sentTo('10.0.0.3', 8080).upstreamHost, '10.0.0.3:8080')
  t.equal(lineOf({ sent: { cluster, host, to: undefined } }).upstreamHost, undefined)
  t.equal(lineOf({ sent: undefined }).upstreamCluster, undefined)
})

t.test('a destination that has changed has its present name', async (t) => {
  const changing = { ...cluster }
  const name = () => lineOf({ sent: { cluster: changing, host, to: undefined } }).upstreamCluster
  t.equal(name(), 'inbound-vip|80|http|web.demo')
  changing.service = { hostname: 'api.demo' }
  t.equal(name(), 'inbound-vip|80|http|api.demo')
  Object.assign(changing, { policy: { destination: { port: 81, subset: 'v2' } } })
  t.equal(name(), 'inbound-vip|81|http/v2|api.demo')
})

t.test('a flag that was earned twice is told once, in its place; times and sizes are whole', async (t) => {
  t.match(lineOf({ flags: ['UF', 'URX', 'UF'] }), {
    responseFlags: 'UF,URX',
    durationMs: 4,
    requestMs: 1,
    responseMs: 2,
    responseTxMs: 2,
    requestHeaderBytes: 2 + 6 + 5 + 3 + 4,
    responseHeaderBytes: 2 + 4 + 5,
  })
  t.equal(lineOf().responseFlags, '')
})

t.test('the path is the one before a rule rewrote it, and none that a client has made up', async (t) => {
  const headers = HeaderList.of({ 'x-envoy-original-path': '/before' })
  const request = { method: 'GET', path: '/after', scheme: 'http', authority: 'web', headers }
  t.equal(lineOf({ request, route: { kind: 'forward', rule: {} } }).path, '/before')
  t.equal(lineOf({ request, route: undefined }).path, '/after', 'refused for want of room, say')
})
