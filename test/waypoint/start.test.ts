import t from 'tap'
import { targetedPolicyTypeUrl } from '#policy'
import { serviceRoutesTypeUrl } from '#routes'
import { waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { eventually } from '../fakes/mesh-world.ts'
import { policyResource } from '../fakes/mesh.ts'
import { scene, upstreamOf } from './kit.ts'

const client = 'cluster.local/ns/demo/sa/client'
const types = [
  addressTypeUrl,
  authorizationTypeUrl,
  targetedPolicyTypeUrl,
  serviceRoutesTypeUrl,
  waypointTelemetryTypeUrl,
]

for (const late of [targetedPolicyTypeUrl, authorizationTypeUrl, serviceRoutesTypeUrl])
  t.test(`nobody is served before ${late.slice(late.lastIndexOf('.') + 1)} is known`, async (t) => {
    let asked = 0
    const a = await upstreamOf(t, '127.0.0.2', (_, response) => {
      asked++
      response.end('a')
    })
    const s = await scene(
      t,
      { a: { ...a, tunnelProtocol: 1 } },
      {},
      types.filter((type) => type !== late),
    )
    const early = s.get('/').then(
      ({ status }) => status,
      () => 'refused',
    )
    const readiness = `http://127.0.0.1:${s.running.waypoint.ports.readiness}/healthz/ready`
    t.not((await fetch(readiness)).status, 200)
    const first = await Promise.race([
      early,
      eventually(() => s.lines().length > 0, 'a line', 1_000).catch(() => 'nothing yet'),
    ])
    t.equal(first, 'nothing yet')
    t.equal(asked, 0)
    if (late === targetedPolicyTypeUrl) await s.policy('not-client', 'deny', [client])
    else if (late === authorizationTypeUrl)
      await s.running.push(
        authorizationTypeUrl,
        policyResource({ name: 'not-client', action: 'deny', principals: [client] }),
      )
    else await s.route({ http: [] })
    t.equal(await early, late === serviceRoutesTypeUrl ? 404 : 403)
    t.equal(asked, 0, 'nothing was sent')
  })
