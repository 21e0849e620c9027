import fc from 'fast-check'
import t from 'tap'
import { formatAddress, ip } from '#base'
import { baggageOf, forwardedHost, isFromElsewhere, partyOf, requestHeaders, traceOf } from '#mesh'
import { parseService, parseWorkload } from '../../../ztunnel/state/index.ts'
import { serviceWire, workloadWire } from '../../fakes/mesh.ts'
import '../../fakes/seed.ts'

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

t.test('what a peer of another network says about itself', async (t) => {
  const source = parseWorkload(
    workloadWire({
      name: 'order',
      workloadName: 'order-v1',
      locality: { region: 'r', zone: 'z', subzone: '' },
    }),
  )
  t.match(partyOf(baggageOf(source)), {
    name: '',
    workloadName: 'order-v1',
    canonicalName: 'order',
    canonicalRevision: 'latest',
    namespace: 'demo',
    clusterId: 'Kubernetes',
    locality: { region: 'r', zone: 'z' },
  })
  const cases: [string, string, object | undefined][] = [
    ['nothing', '', undefined],
    ['more than a mesh says', `service.name=${'x'.repeat(5000)}`, undefined],
    ['no pairs', 'a,b,=c,;', { workloadName: '', canonicalName: '' }],
    ['the last of two', 'service.name=a,service.name=b', { canonicalName: 'b' }],
    ['an = in the value', 'service.name=a=b', { canonicalName: 'a=b' }],
    ['blanks', ' service.name = a ', { canonicalName: 'a' }],
    ['a job', 'k8s.job.name=j', { workloadName: 'j' }],
    ['a cron job', 'k8s.cronjob.name=c', { workloadName: 'c' }],
    ['an unknown kind', 'k8s.replicaset.name=c', { workloadName: '' }],
  ]
  for (const [name, baggage, want] of cases) {
    if (want === undefined) t.equal(partyOf(baggage), undefined, name)
    else t.match(partyOf(baggage), want, name)
  }
  const from = (network: string | undefined) =>
    isFromElsewhere(new Map(network === undefined ? [] : [['x-forwarded-network', network]]), 'net-1')
  t.same(['net-2', 'NET-1', 'net-1', undefined].map(from), [true, false, false, false])
})

t.test('a connection is called what its peer calls it, if that is a trace', async (t) => {
  const given = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const of = (value: string) => traceOf(new Map([['traceparent', value]]))
  t.equal(of(given), given)
  for (const bad of [
    '',
    `${given}0`,
    given.toUpperCase(),
    given.slice(1),
    `00-${'g'.repeat(32)}-${'b'.repeat(16)}-01`,
  ])
    t.match(of(bad), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/, `instead of ${bad}`)
  const many = new Set(Array.from({ length: 5000 }, () => of('')))
  t.equal(many.size, 5000, 'no two are the same')
})

t.test('no header of a peer throws', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const headers = new Map(
        ['baggage', 'forwarded', 'traceparent', 'x-forwarded-network'].map((name) => [name, text]),
      )
      partyOf(text)
      forwardedHost(headers)
      traceOf(headers)
      isFromElsewhere(headers, 'n')
    }),
    { numRuns: 5000 },
  )
  t.pass('5000 of them')
})
