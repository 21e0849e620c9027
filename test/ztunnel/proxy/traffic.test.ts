import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import t from 'tap'
import { Registry } from '#telemetry'
import type { Party } from '#mesh'
import { labelKey, labelNames, labelsOf } from '../../../ztunnel/proxy/labels.ts'
import { proxyMetrics } from '../../../ztunnel/proxy/index.ts'
import { parseService, parseWorkload } from '../../../ztunnel/state/index.ts'
import { serviceWire, workloadWire } from '../../fakes/mesh.ts'

const workload = (name: string) => parseWorkload(workloadWire({ name }))
const service = parseService(serviceWire({ name: 'web' }))
const connection = (source: Party | undefined, destination = workload('server')) => ({
  reporter: 'destination' as const,
  source,
  sourceId: 'spiffe://cluster.local/ns/demo/sa/client',
  destination,
  destinationId: 'spiffe://cluster.local/ns/demo/sa/server',
  service,
  mutualTls: true,
})
const seriesOf = async (registry: Registry, name: string) =>
  (await registry.metrics()).split('\n').filter((line) => line.startsWith(`${name}{`))

t.test("labels are ztunnel's, in ztunnel's order", async (t) => {
  const registry = new Registry()
  const counted = proxyMetrics(registry).open(connection(workload('client')))
  counted.closed({ flag: 'DENY', sent: 22, received: 11 })
  const [opened, ...more] = await seriesOf(registry, 'istio_tcp_connections_opened_total')
  t.same(more, [])
  t.equal(
    opened,
    'istio_tcp_connections_opened_total{reporter="destination",' +
      'source_workload="client",source_canonical_service="client",source_canonical_revision="latest",source_workload_namespace="demo",' +
      'source_principal="spiffe://cluster.local/ns/demo/sa/client",source_app="client",source_version="latest",source_cluster="Kubernetes",' +
      'destination_service="web.demo.svc.cluster.local",destination_service_namespace="demo",destination_service_name="web",' +
      'destination_workload="server",destination_canonical_service="server",destination_canonical_revision="latest",destination_workload_namespace="demo",' +
      'destination_principal="spiffe://cluster.local/ns/demo/sa/server",destination_app="server",destination_version="latest",destination_cluster="Kubernetes",' +
      'request_protocol="tcp",response_flags="-",connection_security_policy="mutual_tls",' +
      'source_region="unknown",source_zone="unknown",destination_region="unknown",destination_zone="unknown"} 1',
  )
  for (const [name, flag, value] of [
    ['istio_tcp_connections_closed_total', 'DENY', 1],
    ['istio_tcp_connections_failed_total', 'DENY', 1],
    ['istio_tcp_sent_bytes_total', '-', 22],
    ['istio_tcp_received_bytes_total', '-', 11],
  ] as const) {
    const series = await seriesOf(registry, name)
    t.equal(series.length, 1)
    t.match(series[0], new RegExp(`response_flags="${flag}".* ${value}$`), name)
  }
  const json = await registry.getMetricsAsJSON()
  t.match(
    json.find(({ name }) => name === 'istio_tcp_sent_bytes_total'),
    { type: 'counter', aggregator: 'sum', values: [{ value: 22 }] },
    'and as JSON, for the sum over workers',
  )
})

t.test('the rows are the same exactly when the labels are', async (t) => {
  const a = connection(workload('a'))
  t.equal(labelKey(a), labelKey(connection(workload('a'))))
  for (const other of [
    connection(workload('b')),
    connection(undefined),
    { ...a, reporter: 'source' as const },
    { ...a, sourceId: undefined },
    { ...a, mutualTls: false },
    { ...a, service: undefined },
    connection(workload('a'), workload('other')),
  ])
    t.not(labelKey(a), labelKey(other))
  t.same(Object.keys(labelsOf(a)), labelNames)
  const places = ['source_region', 'source_zone']
  const withoutPlace = labelNames.filter((name) => !places.includes(name))
  t.same(Object.keys(labelsOf(connection(undefined))), withoutPlace, 'nobody is nowhere')
})

t.test('bytes of an open connection are counted at each scrape, and once', async (t) => {
  const registry = new Registry()
  const metrics = proxyMetrics(registry)
  const apps: Socket[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    apps.push(socket)
    socket.resume()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const client = connect({
    port: typeof address === 'object' && address ? address.port : 0,
    host: '127.0.0.1',
  })
  t.teardown(() => {
    client.destroy()
    server.close()
  })
  await once(client, 'connect')
  const bytes = async () => [
    (await seriesOf(registry, 'istio_tcp_received_bytes_total'))[0]?.split(' ').at(-1),
    (await seriesOf(registry, 'istio_tcp_sent_bytes_total'))[0]?.split(' ').at(-1),
  ]
  const counted = metrics.open(connection(workload('client')))
  client.write('header')
  counted.watch(client, 6)
  await new Promise((done) => client.write('0123456789', done))
  t.same(await bytes(), ['10', '0'], 'toward the application, without what was written before')
  t.same(await bytes(), ['10', '0'])
  const [app] = apps
  const answered = once(client, 'data')
  app?.write('abc')
  await answered
  t.same(await bytes(), ['10', '3'])
  counted.closed({ flag: '-', sent: 4, received: 12 })
  t.same(await bytes(), ['12', '4'], 'the end adds only what had not been seen')
  client.write('more')
  t.same(await bytes(), ['12', '4'], 'and nothing comes after it')
})

t.test('what peers say about themselves cannot make series without end', async (t) => {
  const registry = new Registry()
  const metrics = proxyMetrics(registry)
  const party = (i: number): Party => ({
    name: '',
    workloadName: `w${i}`,
    canonicalName: 'x'.repeat(1000),
    canonicalRevision: '',
    namespace: 'ns',
    clusterId: '',
    locality: { region: '', zone: '' },
  })
  const held = Array.from({ length: 6000 }, (_, i) => metrics.open(connection(party(i))))
  const opened = async () => seriesOf(registry, 'istio_tcp_connections_opened_total')
  const series = await opened()
  t.equal(series.length, 4097, 'the rest counts together')
  t.match(series.at(-1), /source_workload="unknown".*connection_security_policy="overflow".*\} 1904$/)
  t.notMatch(series.join('\n'), 'x'.repeat(254), 'long values are cut')
  for (const counted of held) counted.closed({ flag: '-', sent: 0, received: 0 })
  for (let i = 10_000; i < 11_000; i++)
    metrics.open(connection(party(i))).closed({ flag: '-', sent: 1, received: 1 })
  const later = await opened()
  t.ok(later.length <= 4097)
  t.ok(
    later.some((line) => line.includes('"w10999"')),
    'unused rows give way to new ones',
  )
})
