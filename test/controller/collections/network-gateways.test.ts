import t from 'tap'
import { type Custom, keyOf, Table } from '#kube'
import { meshFrom } from '../../../controller/collections/index.ts'
import { inputsOf, settings } from './world.ts'

const remote = (name: string, account: string): Custom => ({
  metadata: {
    name,
    namespace: 'infra',
    labels: { 'topology.istio.io/network': 'net2' },
    annotations: { 'gateway.istio.io/service-account': account },
  },
  spec: {
    gatewayClassName: 'istio-remote',
    listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
  },
  status: { addresses: [{ type: 'IPAddress', value: '203.0.113.1' }] },
})

t.test('of Gateways for one address the first counts, and the next as soon as it is gone', async (t) => {
  const gateways = new Table<Custom>('gateways')
  const put = (key: string, row: Custom | undefined) => gateways.apply([{ key, old: gateways.get(key), row }])
  const mesh = meshFrom({ ...inputsOf({}), gateways: gateways.collection }, settings)
  const uid = 'NetworkGateway/net2/203.0.113.1/15008'
  const account = () => mesh.workloads.get(uid)?.serviceAccount
  const [a, b] = [remote('a', 'one'), remote('b', 'two')]
  put(keyOf(b), b)
  t.equal(account(), 'two')
  put(keyOf(a), a)
  t.equal(account(), 'one')
  put(keyOf(a), undefined)
  t.equal(account(), 'two')
  put(keyOf(b), undefined)
  t.equal(account(), undefined)
  put(keyOf(a), a)
  put(keyOf(a), remote('a', 'three'))
  t.equal(account(), 'three')
  t.equal(mesh.addresses.size(), 1)
})
