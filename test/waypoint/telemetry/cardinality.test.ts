import t from 'tap'
import { Registry } from '#telemetry'
import { requestMetrics } from '../../../waypoint/telemetry/index.ts'

const facts = {
  source: undefined,
  sourceId: 'spiffe://cluster.local/ns/demo/sa/client',
  destination: undefined,
  destinationId: undefined,
  service: undefined,
  protocol: 'grpc',
  status: 200,
  flags: '-',
  durationMs: 1,
  requestBytes: 1,
  responseBytes: 1,
} as const

t.test('what an upstream calls a gRPC status makes no series of its own', async (t) => {
  const registry = new Registry()
  const metrics = requestMetrics(registry)
  for (let n = 0; n < 6_000; n++) metrics.record({ ...facts, grpcStatus: `${n}${'x'.repeat(500)}` })
  for (let n = 0; n < 200; n++) metrics.record({ ...facts, grpcStatus: `${n}` })
  const text = await registry.metrics()
  const series = text.split('\n').filter((line) => line.startsWith('istio_requests_total{'))
  t.equal(series.length, 18, 'seventeen statuses, and one for what is none')
  t.notMatch(text, /xxx/)
  t.notMatch(text, /connection_security_policy="overflow"/)
  t.match(text, /grpc_response_status="unknown"[^\n]* 6183\n/)
})

t.test('statuses that HTTP does not have share one series', async (t) => {
  const registry = new Registry()
  const metrics = requestMetrics(registry)
  for (let status = 600; status < 1_000; status++) metrics.record({ ...facts, status, grpcStatus: '' })
  metrics.record({ ...facts, status: 0, grpcStatus: '' })
  const text = await registry.metrics()
  t.equal(text.split('\n').filter((line) => line.startsWith('istio_requests_total{')).length, 2)
  t.match(text, /response_code="unknown"[^\n]* 400\n/)
})
