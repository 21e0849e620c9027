import t from 'tap'
import { describedBy } from '../../../ztunnel/proxy/double-hbone.ts'
import { baggageOf } from '../../../ztunnel/proxy/headers.ts'
import { parseWorkload } from '../../../ztunnel/state/index.ts'
import { workloadWire } from '../../fakes/mesh.ts'

const endpoint = parseWorkload(
  workloadWire({ name: 'far', namespace: 'demo', network: 'far', workloadName: '' }),
)

t.test('the far endpoint is who its baggage says', async (t) => {
  const real = parseWorkload(
    workloadWire({
      name: 'server-1',
      namespace: 'shop',
      workloadName: 'server',
      workloadType: 3,
      canonicalName: 'srv',
      canonicalRevision: 'v2',
      clusterId: 'c2',
      locality: { region: 'r2', zone: 'z2', subzone: '' },
    }),
  )
  t.match(describedBy(endpoint, baggageOf(real)), {
    name: 'server',
    workloadName: 'server',
    workloadType: 'job',
    namespace: 'shop',
    canonicalName: 'srv',
    canonicalRevision: 'v2',
    clusterId: 'c2',
    locality: { region: 'r2', zone: 'z2' },
    identity: endpoint.identity,
    uid: endpoint.uid,
    addresses: [],
  })
})

t.test('what is missing, malformed or too long changes nothing that we know', async (t) => {
  t.equal(describedBy(endpoint, undefined), endpoint)
  t.equal(describedBy(endpoint, ''), endpoint)
  t.match(describedBy(endpoint, ',=,=x,k8s.namespace.name=,nonsense,k8s.cluster.name'), {
    namespace: 'demo',
    clusterId: 'Kubernetes',
  })
  t.equal(describedBy(endpoint, `service.name=${'x'.repeat(9_999)}`).canonicalName.length, 253)
  t.equal(describedBy(endpoint, `${'a=b,'.repeat(2_000)}service.name=late`).canonicalName, 'far')
  t.equal(describedBy(endpoint, 'service.name=a=b').canonicalName, 'a=b', 'the first = parts name and value')
})
