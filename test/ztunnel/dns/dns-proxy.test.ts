import t from 'tap'
import { startLogging } from '#telemetry'
import { InFlight } from '../../../ztunnel/dns/index.ts'
import { standardTimes } from '../../../ztunnel/dns/times.ts'
import { until } from '../../fakes/until.ts'
import { a, question, read, response } from './kit.ts'
import { askTcp, askUdp, framed, metric, proxy, upstream } from './servers.ts'

t.test('names of the mesh are answered, over UDP and TCP, and nobody else is asked', async (t) => {
  await using other = await upstream(({ bytes }) => response(bytes, { flags: 3 }))
  await using dns = await proxy([other.address])
  const bytes = question({ name: 'web.demo', id: 3 })
  t.match(read(await askUdp(dns.address, bytes)), {
    id: 3,
    rcode: 0,
    aa: true,
    answers: ['web.demo A 10.0.0.1'],
  })
  const replies = await askTcp(dns.address, framed(bytes))
  t.match(read(replies[0]), { id: 3, rcode: 0, answers: ['web.demo A 10.0.0.1'] })
  t.match(read(await askUdp(dns.address, question({ name: 'web', type: 'AAAA' }))), {
    rcode: 0,
    aa: true,
    answers: [],
  })
  t.match(read(await askUdp(dns.address, question({ name: 'example.com.demo.svc.cluster.local' }))).answers, [
    'example.com.demo.svc.cluster.local CNAME example.com',
    'example.com A 240.0.0.1',
  ])
  t.equal(other.seen.length, 0)
})

t.test('other names and types are forwarded, and counted under ztunnel’s names', async (t) => {
  await using other = await upstream(({ bytes }) => {
    const { question: asked } = read(bytes)
    if (asked?.type === 'SRV')
      return response(bytes, {
        answers: [{ type: 'SRV', name: asked.name, data: { target: 'a.web', port: 80 } }],
        additionals: [a('a.web', '10.5.0.1')],
      })
    return response(
      bytes,
      asked?.name === 'no.example' ? { flags: 3 } : { answers: [a('yes.example', '9.9.9.9')] },
    )
  })
  await using dns = await proxy([other.address])
  t.match(read(await askUdp(dns.address, question({ name: 'yes.example', id: 8 }))), {
    id: 8,
    rcode: 0,
    answers: ['yes.example A 9.9.9.9'],
  })
  t.match(read(await askUdp(dns.address, question({ name: 'no.example' }))), { rcode: 3 })
  t.match(read((await askTcp(dns.address, framed(question({ name: '_http._tcp.web', type: 'SRV' }))))[0]), {
    answers: { length: 1 },
    additionals: ['a.web A 10.5.0.1'],
  })
  await askUdp(dns.address, question({ name: 'web' }))
  t.same(await metric(dns, /^istio_dns_(upstream_)?(requests|failures)_total/), [
    'istio_dns_requests_total{request_query_type="A",request_protocol="udp",source_canonical_service="unknown",source_canonical_revision="unknown"} 3',
    'istio_dns_requests_total{request_query_type="SRV",request_protocol="tcp",source_canonical_service="unknown",source_canonical_revision="unknown"} 1',
    'istio_dns_upstream_requests_total{request_query_type="A",request_protocol="udp",source_canonical_service="unknown",source_canonical_revision="unknown"} 2',
    'istio_dns_upstream_requests_total{request_query_type="SRV",request_protocol="tcp",source_canonical_service="unknown",source_canonical_revision="unknown"} 1',
  ])
  t.same(
    (await metric(dns, /^istio_dns_upstream_request_duration_seconds_bucket.*"A"/)).map(
      (line) => /le="([^"]+)"/.exec(line)?.[1],
    ),
    ['0.0005', '0.001', '0.01', '0.1', '1', '5', '+Inf'],
  )
  t.equal(dns.context.inFlight.count, 0)
  t.equal(dns.descriptors(), 0, 'all is given back')
})

t.test('an upstream outage: names of the mesh are answered, others fail, nothing piles up', async (t) => {
  await using dead = await upstream(() => undefined)
  const inFlight = new InFlight(10)
  await using dns = await proxy([dead.address], { inFlight, times: { ...standardTimes, deadlineMs: 8_000 } })
  const waiting = Array.from({ length: 10 }, (_, n) =>
    askUdp(dns.address, question({ name: `x${n}.example` })),
  )
  await until(() => inFlight.count === 10, 'all of them wait')
  t.match(
    read(await askUdp(dns.address, question({ name: 'more.example' }))),
    { rcode: 2 },
    'no room: told at once',
  )
  for (let n = 0; n < 50; n++)
    t.match(read(await askUdp(dns.address, question({ name: 'web' }))), { rcode: 0 })
  t.equal(inFlight.count, 10, 'none of that waited for any of them')
  for (const reply of await Promise.all(waiting)) t.match(read(reply), { rcode: 2, answers: [] })
  t.ok(standardTimes.deadlineMs < 5_000, 'before a resolver gives up')
  t.equal(inFlight.count, 0)
  t.same(await metric(dns, /refused_total.*in-flight/), ['lateen_dns_refused_total{reason="in-flight"} 1'])
  t.match(await metric(dns, /failures_total\{/), [/ 10$/])
})

t.test('beside an app that has our resolv.conf, its own search list counts', async (t) => {
  await using model = await proxy([])
  const { config } = model.context
  await model[Symbol.asyncDispose]()
  await using dns = await proxy([], {
    config: { ...config, ownSearch: true },
    resolvConf: () => ({ nameservers: [], search: ['corp.example'] }),
  })
  const { answers } = read(await askUdp(dns.address, question({ name: 'example.com.corp.example' })))
  t.same(answers, ['example.com.corp.example CNAME example.com', 'example.com A 240.0.0.1'])
  const other = read(await askUdp(dns.address, question({ name: 'example.com.demo.svc.cluster.local' })))
  t.equal(other.rcode, 2, 'and no other')
})

t.test('a resolv.conf that names the proxy itself does not make it ask itself', async (t) => {
  await using first = await proxy([])
  await using dns = await proxy([first.address], { config: first.context.config })
  await first[Symbol.asyncDispose]()
  t.match(read(await askUdp(dns.address, question({ name: 'x.example' }))), { rcode: 2 })
  t.match(read((await askTcp(dns.address, framed(question({ name: 'x.example' }))))[0]), { rcode: 2 })
  t.match(await metric(dns, /istio_dns_requests_total\{/), [/ 1$/, / 1$/], 'asked twice, and not by itself')
})

t.test('the log says who asked what and what came of it', async (t) => {
  await using other = await upstream(({ bytes }) => response(bytes, { flags: 3 }))
  const lines: string[] = []
  const logs = startLogging({ filter: 'dns=debug', write: (line) => lines.push(line) })
  await using dns = await proxy([other.address], { log: logs.root('dns') })
  await askUdp(dns.address, question({ name: 'Web.Demo' }))
  await askUdp(dns.address, question({ name: 'evil"\t.example', type: 'TXT' }))
  t.match(
    lines[0],
    /\tdebug\tdns\tdns query\tsrc\.workload="client" src\.namespace="demo" query="A" domain="web\.demo" result="success" endpoints=1\n$/,
  )
  t.match(
    lines[1],
    /query="TXT" domain="evil\\\\034\\\\009\.example" result="forwarded: NXDOMAIN" endpoints=0\n$/,
  )
})
