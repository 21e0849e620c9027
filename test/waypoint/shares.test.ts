/** What a rule says in percent and by weights, counted at a running waypoint. Bounds are five standard deviations. */
import http from 'node:http'
import t, { type Test } from 'tap'
import { addressTypeUrl } from '#wire'
import { serviceResource, workloadResource } from '../fakes/mesh.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { ask, noOps, policyOf, rule, scene, toWeb, upstreamOf } from './kit.ts'

t.setTimeout(60_000)

const requests = 1_000
const isShare = (t: Test, count: number, of: number, percent: number, title: string) => {
  const p = percent / 100
  const bound = 5 * Math.sqrt(of * p * (1 - p)) + 1
  t.ok(Math.abs(count - of * p) <= bound, `${title}: ${count} of ${of} for ${percent} %`)
}
const copyKey = 'demo/copy.demo.svc.cluster.local'
const other = { kind: 'service', service: copyKey, port: 80 } as const
const destination = { requestHeaders: noOps, responseHeaders: noOps }

t.test('weights, backends that are not there, faults and mirrors', async (t) => {
  let copies = 0
  const web = await upstreamOf(t, '127.0.0.2', (_, response) => void response.end('web'))
  const copy = await upstreamOf(t, '127.0.0.3', (request, response) => {
    if (request.headers.host?.endsWith('-shadow')) copies++
    response.end('other')
  })
  const s = await scene(t, { web })
  await s.running.push(addressTypeUrl, {
    ...serviceResource({ name: 'copy', ports: { 80: 80 } }),
    ...workloadResource({
      name: 'copy-1',
      node: 'n2',
      addresses: [copy.address],
      tunnelProtocol: 0,
      services: { [copyKey]: { 80: copy.port } },
    }),
  })
  const action = {
    destinations: [
      { weight: 60, to: toWeb, ...destination },
      {
        weight: 30,
        to: { kind: 'invalid', status: 500, reason: 'it is not there' } as const,
        ...destination,
      },
      { weight: 10, to: other, ...destination },
      { weight: 0, to: { kind: 'invalid', status: 503, reason: 'nothing' } as const, ...destination },
    ],
    mirrors: [{ to: other, ppm: 250_000 }],
  }
  const fault = { abort: { ppm: 200_000, with: { kind: 'http', status: 418 } as const } }
  await s.route({ http: [rule({ fault }, action)] }, [policyOf({}), policyOf({ destination: other })])
  const counts = new Map<string, number>()
  const port = await s.front()
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 })
  t.teardown(() => agent.destroy())
  for (let done = 0; done < requests; done += 8) {
    const some = Array.from({ length: 8 }, () => ask(port, '/', { agent }))
    for (const { status, body } of await Promise.all(some)) {
      const what = status === 200 ? body : `${status}`
      counts.set(what, (counts.get(what) ?? 0) + 1)
    }
  }
  const of = (what: string) => counts.get(what) ?? 0
  isShare(t, of('418'), requests, 20, 'faults')
  const routed = requests - of('418')
  isShare(t, of('500'), routed, 30, 'a backend that is not there keeps its share')
  isShare(t, of('web'), routed, 60, 'the heavy one')
  isShare(t, of('other'), routed, 10, 'the light one')
  t.equal(of('503'), 0, 'a weight of nothing')
  const sent = of('web') + of('other')
  await eventually(
    () => Math.abs(copies - sent / 4) <= 5 * Math.sqrt((sent * 3) / 16) + 1,
    'copies of a quarter',
  )
  t.equal(of('418') + of('500') + of('web') + of('other'), requests)
})
