import t from 'tap'
import { Registry } from '#telemetry'
import type { Party, Service, ServiceKey } from '#mesh'
import { type LabelFacts, requestMetrics } from '../../../waypoint/telemetry/index.ts'
import { labelKey, labelsOf } from '../../../waypoint/telemetry/labels.ts'

const party = (workloadName: string): Party => ({
  name: `${workloadName}-1`,
  workloadName,
  canonicalName: workloadName,
  canonicalRevision: 'v1',
  namespace: 'demo',
  clusterId: 'c1',
  locality: { region: '', zone: '' },
})
const service = (name: string) =>
  ({
    key: `demo/${name}.demo.svc.cluster.local` as ServiceKey,
    name,
    namespace: 'demo',
    hostname: `${name}.demo.svc.cluster.local`,
  }) as Service

const facts: LabelFacts = {
  source: party('client'),
  sourceId: 'spiffe://cluster.local/ns/demo/sa/client',
  destination: party('web'),
  destinationId: 'spiffe://cluster.local/ns/demo/sa/web',
  service: service('web'),
  protocol: 'http',
}
const variations: readonly Partial<LabelFacts>[] = [
  {},
  { source: undefined },
  { source: party('other') },
  { source: { ...party('client'), canonicalRevision: 'v2' } },
  { sourceId: undefined },
  { sourceId: 'spiffe://cluster.local/ns/demo/sa/other' },
  { destination: undefined },
  { destination: party('web-2') },
  { destinationId: undefined },
  { destinationId: 'spiffe://cluster.local/ns/demo/sa/other' },
  { service: undefined },
  { service: service('api') },
  { service: service('db') },
  { service: { ...service('web'), key: 'bank/web.bank.svc.cluster.local' as ServiceKey, namespace: 'bank' } },
  { protocol: 'grpc' },
  { protocol: 'tcp' },
  { source: undefined, destination: undefined },
]

t.test(
  'keys are the same exactly when labels are, however often and in whatever order they are asked for',
  async (t) => {
    const seen = new Map<string, string>()
    for (let round = 0; round < 3; round++)
      for (const change of variations) {
        // Records of the mesh are replaced by others that may say the same.
        const copy = round === 1 ? { source: facts.source && { ...facts.source } } : {}
        const f = { ...facts, ...copy, ...change }
        const [key, labels] = [labelKey(f), JSON.stringify(labelsOf(f))]
        t.equal(seen.get(key) ?? labels, labels, key)
        seen.set(key, labels)
      }
    t.equal(seen.size, variations.length)
  },
)

t.test('more pairs than are remembered have the right keys all the same', async (t) => {
  const sources = Array.from({ length: 300 }, (_, n) => party(`s${n}`))
  const destinations = Array.from({ length: 100 }, (_, n) => party(`d${n}`))
  let wrong = 0
  for (const source of sources)
    for (const destination of destinations) {
      const key = labelKey({ ...facts, source, destination })
      if (!key.includes(`${source.workloadName}\u0000`) || !key.includes(`${destination.workloadName}\u0000`))
        wrong++
    }
  t.equal(wrong, 0)
  t.equal(labelKey(facts), labelKey({ ...facts, source: party('client') }))
})

t.test('a workload that is replaced is counted as what it is now', async (t) => {
  const registry = new Registry()
  const metrics = requestMetrics(registry)
  const how = {
    status: 200,
    flags: '-',
    grpcStatus: '',
    durationMs: 1,
    requestBytes: 1,
    responseBytes: 1,
  }
  metrics.record({ ...facts, ...how })
  metrics.record({ ...facts, ...how, destination: { ...party('web') } })
  metrics.record({ ...facts, ...how, destination: { ...party('web'), canonicalRevision: 'v2' } })
  metrics.record({ ...facts, ...how, status: 503, flags: 'UF' })
  const lines = (await registry.metrics())
    .split('\n')
    .filter((line) => line.startsWith('istio_requests_total{'))
  const told = lines.map((line) => [
    /destination_version="(\w+)"/.exec(line)?.[1],
    /response_code="(\d+)"/.exec(line)?.[1],
    /response_flags="([^"]*)"/.exec(line)?.[1],
    line.split(' ').at(-1),
  ])
  t.strictSame(told, [
    ['v1', '200', '-', '2'],
    ['v2', '200', '-', '1'],
    ['v1', '503', 'UF', '1'],
  ])
})
