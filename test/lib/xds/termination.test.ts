import grpc from '@grpc/grpc-js'
import t from 'tap'
import { MeshError } from '#base'
import { Registry, silent } from '#telemetry'
import { addressTypeUrl } from '#wire'
import { subscribe, xdsMetrics } from '#xds'
import { terminationOf } from '../../../lib/xds/termination.ts'
import { FakeXds } from '../../fakes/fake-xds.ts'
import { createTestCa } from '../../fakes/test-ca.ts'

const { status } = grpc
const failure = (code: number, message = 'no') =>
  new MeshError('unavailable', { cause: Object.assign(new Error(message), { code }) })

const failures: [string, unknown, boolean, string][] = [
  ['a connection that never was', failure(status.UNAVAILABLE), false, 'ConnectionError'],
  ['a refusal', failure(status.PERMISSION_DENIED), true, 'Error'],
  ['a server that is gone', failure(status.UNAVAILABLE, 'ECONNRESET'), true, 'Error'],
  ['a server that closes', failure(status.UNAVAILABLE, '14: transport is closing'), true, 'Reconnect'],
  ['a server that said so', failure(status.UNAVAILABLE, 'received prior goaway: code 0'), true, 'Reconnect'],
  ['an end of its age', failure(status.CANCELLED), true, 'Reconnect'],
  ['a deadline', failure(status.DEADLINE_EXCEEDED), true, 'Reconnect'],
  ['something unknown', failure(status.UNKNOWN), true, 'Reconnect'],
  ['no status at all', new Error('odd'), true, 'Error'],
]
for (const [name, error, wasOpen, want] of failures) {
  t.test(`${name} is counted as ${want}`, async (t) => {
    t.equal(terminationOf(error, wasOpen), want)
  })
}

t.test('a stream that the server cancels is counted as Reconnect', async (t) => {
  const ca = createTestCa()
  const fake = await FakeXds.start(ca)
  const registry = new Registry()
  const stop = new AbortController()
  const { done } = subscribe({
    address: fake.address,
    rootPem: () => ca.rootPem,
    token: () => 't',
    clusterId: 'c',
    node: { id: 'n', metadata: {} },
    types: { [addressTypeUrl]: { apply: () => [] } },
    signal: stop.signal,
    log: silent,
    metrics: xdsMetrics(registry),
  })
  const stream = await fake.stream()
  await fake.until(() => fake.lines.length === 1)
  stream.fail(status.CANCELLED)
  await fake.stream(2)
  t.match(await registry.metrics(), 'istio_xds_connection_terminations_total{reason="Reconnect"} 1')
  stop.abort()
  await done
  fake[Symbol.dispose]()
})
