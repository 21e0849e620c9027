import fc from 'fast-check'
import t from 'tap'
import { formatAddress, ip } from '#base'
import { baggageOf, forwardedHost, requestHeaders } from '../../ztunnel/proxy/headers.ts'
import { addressHandler, MeshState, parseService, parseWorkload } from '../../ztunnel/state/index.ts'
import { serviceWire, workloadWire } from '../fakes/mesh.ts'

t.test('baggage says who the source is, in order, and never breaks its own list', async (t) => {
  const draft = { name: 'order', workloadName: 'order-v1', canonicalRevision: 'v1' }
  const locality = { region: 'r1', zone: '', subzone: '' }
  t.equal(
    baggageOf(parseWorkload(workloadWire({ ...draft, locality }))),
    'k8s.cluster.name=Kubernetes,k8s.namespace.name=demo,k8s.deployment.name=order-v1,service.name=order,service.version=v1,cloud.region=r1',
  )
  const odd = parseWorkload(workloadWire({ ...draft, canonicalName: 'a,b=c\r\nx', canonicalRevision: '' }))
  t.equal(baggageOf(odd), 'k8s.cluster.name=Kubernetes,k8s.namespace.name=demo,k8s.deployment.name=order-v1')
})

t.test('the headers of a CONNECT', async (t) => {
  const source = parseWorkload(workloadWire({ name: 'order' }))
  const service = parseService(serviceWire({ name: 'web' }))
  const src = { address: ip('fd00::1'), port: 1234 }
  const { forwarded, traceparent } = requestHeaders(source, src, service)
  t.equal(forwarded, `for="${formatAddress(src)}";host=web.demo.svc.cluster.local`)
  t.match(traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  t.equal(requestHeaders(source, src, undefined)['forwarded'], 'for="[fd00::1]:1234"')
  t.equal(forwardedHost(new Map([['forwarded', forwarded ?? '']])), 'web.demo.svc.cluster.local')
  t.equal(forwardedHost(new Map([['forwarded', 'for=x; host="Web.Demo"']])), 'web.demo')
  t.equal(forwardedHost(new Map()), undefined)
})

t.test('no bytes of a resource make the state throw', async (t) => {
  const state = new MeshState('n1')
  const handler = addressHandler(state)
  const good = workloadWire({ name: 'w', addresses: ['10.0.0.1'], services: { 'a/b': { 80: 80 } } })
  const { workload: wire } = await import('#wire')
  const encoded = wire.Address.encode({ type: { $case: 'workload', value: good } }).finish()
  fc.assert(
    fc.property(
      fc.nat(encoded.length - 1),
      fc.nat(255),
      fc.uint8Array({ maxLength: 40 }),
      (at, byte, noise) => {
        const mutant = Uint8Array.from(encoded)
        mutant[at] = byte
        for (const bytes of [mutant, noise]) handler.apply([{ name: 'x', version: '', bytes }], [])
        return true
      },
    ),
    { numRuns: 3000 },
  )
  t.ok([...state.workloads()].length < 3000)
})
