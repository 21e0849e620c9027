import t from 'tap'
import { HeaderList } from '#http'
import type { Answer, Call } from '../../../waypoint/phase/call.ts'
import { factsOf } from '../../../waypoint/phase/line-facts.ts'

const host = {
  workload: { hostname: '', name: 'web-1', protocol: 'HBONE', identity: 'spiffe://a/ns/b/sa/c' },
}
const toWeb = { kind: 'service', service: 'demo/web.demo', port: 80 }

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
    route: { kind: 'forward', rule: {}, to: toWeb },
    sent: { host, to: { address: '10.0.0.3', port: 8080 } },
    ...given,
  }) as unknown as Call
const headers = HeaderList.of({ ab: 'cde' })
const local: Answer = { kind: 'local', status: 200, headers, body: '' }
const answer = { kind: 'upstream', status: 200, headers } as unknown as Answer
const lineOf = (given: object = {}, given2 = answer, isWhole = true) =>
  factsOf(callOf(given), new Date(0), given2, isWhole)

t.test('a line says where its own request went, wherever the one before it did', async (t) => {
  const sentTo = (address: string, port: number) => lineOf({ sent: { host, to: { address, port } } })
  t.match(lineOf(), {
    upstreamHost: '10.0.0.3:8080',
    upstreamCluster: 'inbound-vip|80|http|web.demo',
    downstreamLocalAddress: '10.0.0.1:80',
    downstreamRemoteAddress: '[fd00::2]:1234',
  })
  t.equal(sentTo('10.0.0.4', 8080).upstreamHost, '10.0.0.4:8080')
  t.equal(sentTo('10.0.0.4', 8081).upstreamHost, '10.0.0.4:8081')
  t.equal(sentTo('10.0.0.3', 8080).upstreamHost, '10.0.0.3:8080')
  t.equal(lineOf({ sent: { host, to: undefined } }).upstreamHost, undefined)
})

t.test('a destination is named, also where nobody of it was asked', async (t) => {
  const name = (given: object) => lineOf({ sent: undefined, ...given }).upstreamCluster
  t.equal(name({}), 'inbound-vip|80|http|web.demo')
  const to = { kind: 'service', service: 'demo/api.demo', port: 81, subset: 'v2' }
  t.equal(name({ route: { kind: 'forward', rule: {}, to } }), 'inbound-vip|81|http/v2|api.demo')
  t.equal(name({ route: { kind: 'respond', rule: {} } }), undefined)
  t.equal(name({ route: undefined }), undefined)
  const { facts } = callOf()
  t.equal(name({ facts: { ...facts, target: { kind: 'workload' } } }), 'inbound-vip|0|http|direct')
})

t.test('how long an upstream took is told of answers that are an upstream’s', async (t) => {
  t.match(lineOf(), { responseMs: 2, responseTxMs: 2 })
  t.match(lineOf({}, answer, false), { responseMs: 2, responseTxMs: undefined }, 'broken off')
  t.match(lineOf({}, local), { responseMs: undefined, responseTxMs: undefined })
})

t.test('the outcome of gRPC is what is said of it, or what its status of HTTP comes to', async (t) => {
  const cases: [given: object, outcome: number | undefined][] = [
    [{ isGrpc: true, grpcStatus: '5' }, 5],
    [{ isGrpc: true, status: 503 }, 14],
    [{ isGrpc: true, status: 200 }, 2],
    [{ isGrpc: true, status: 0 }, undefined],
    [{ isGrpc: false, grpcStatus: '5' }, undefined],
  ]
  for (const [given, outcome] of cases) t.equal(lineOf(given).grpcStatus, outcome, JSON.stringify(given))
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
  t.equal(lineOf({ request, route: { kind: 'forward', rule: {}, to: toWeb } }).path, '/before')
  t.equal(lineOf({ request, route: undefined }).path, '/after', 'refused for want of room, say')
})
