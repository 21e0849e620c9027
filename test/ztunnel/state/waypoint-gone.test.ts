import t from 'tap'
import { failOpenExtension } from '#wire'
import { failedEndpoint, type Route } from '../../../ztunnel/state/index.ts'
import type { ServiceDraft, WorkloadDraft } from '../../fakes/mesh.ts'
import { ask, meshOf, web, wp } from '../../helpers/outbound-kit.ts'

const server: WorkloadDraft = { name: 'server', addresses: ['10.0.0.2'], services: { [web]: { 80: 8080 } } }
const waypoint: WorkloadDraft = {
  name: 'wp',
  addresses: ['10.0.0.9'],
  services: { [wp]: { 15008: 15008 } },
}
const service: ServiceDraft = { name: 'web', vips: ['10.96.0.1'], ports: { 80: 8080 }, waypoint: wp }
const waypointService: ServiceDraft = { name: 'wp', vips: ['10.96.0.9'], ports: { 15008: 15008 } }
const open = { extensions: [failOpenExtension] }
const unready = { status: 1 } as const

const text = (route: Route) =>
  'via' in route ? `${route.kind} ${route.via.address} ${route.reason}` : `${route.kind} ${route.reason}`

const through = 'waypoint 10.0.0.9 service-waypoint'
const refused = 'reject waypoint-unavailable'
const vip = '10.96.0.1:80'
const pod = '10.0.0.2:8080'

/** What is known, what is dialled, and what becomes of it. */
const cases: readonly (readonly [string, WorkloadDraft[], ServiceDraft[], string, string])[] = [
  ['a waypoint that is there is used', [server, waypoint], [service, waypointService], vip, through],
  [
    'also where it may be passed by',
    [server, waypoint],
    [{ ...service, ...open }, waypointService],
    vip,
    through,
  ],
  ['none of it is ready', [server, { ...waypoint, ...unready }], [service, waypointService], vip, refused],
  ['it has no pods', [server], [service, waypointService], vip, refused],
  ['nobody has heard of it', [server], [service], vip, 'reject unknown-waypoint'],
  [
    'none of it is ready, and it may be passed by',
    [server, { ...waypoint, ...unready }],
    [{ ...service, ...open }, waypointService],
    vip,
    'hbone 10.0.0.2 past-waypoint',
  ],
  [
    'it has no pods, and may be passed by',
    [server],
    [{ ...service, ...open }, waypointService],
    vip,
    'hbone 10.0.0.2 past-waypoint',
  ],
  [
    'nobody has heard of it, and it may be passed by',
    [server],
    [{ ...service, ...open }],
    vip,
    'hbone 10.0.0.2 past-waypoint',
  ],
  [
    'it may be passed by, but nobody is behind it',
    [{ ...server, ...unready }],
    [{ ...service, ...open }, waypointService],
    vip,
    'reject no-healthy-upstream',
  ],
  ['one for a pod', [{ ...server, waypoint: wp }], [waypointService], pod, refused],
  [
    'one for a pod that may be passed by',
    [{ ...server, waypoint: wp, ...open }],
    [waypointService],
    pod,
    'hbone 10.0.0.2 past-waypoint',
  ],
  [
    'what is said of a service does not hold for its pods',
    [{ ...server, waypoint: wp }],
    [{ ...service, ...open }, waypointService],
    pod,
    refused,
  ],
  [
    'an extension of another name says nothing',
    [server],
    [
      { ...service, extensions: [{ name: 'example.com/waypoint-fail-open', config: undefined }] },
      waypointService,
    ],
    vip,
    refused,
  ],
]

for (const [what, workloads, services, to, expected] of cases)
  t.test(what, async (t) => {
    t.equal(text(ask(meshOf(workloads, services), to)), expected)
  })

t.test('pods of a waypoint that do not answer are tried before it is passed by', async (t) => {
  const pods = ['10.0.0.8', '10.0.0.9'].map((address) => ({
    ...waypoint,
    name: `wp-${address}`,
    serviceAccount: 'wp',
    addresses: [address],
  }))
  for (const [extra, last] of [
    [{}, refused],
    [open, 'hbone 10.0.0.2 past-waypoint'],
  ] as const) {
    const state = meshOf([...pods, server], [{ ...service, ...extra }, waypointService])
    const tried = new Set<NonNullable<ReturnType<typeof failedEndpoint>>>()
    const ways: string[] = []
    for (let n = 0; n < 3; n++) {
      const route = ask(state, vip, { tried })
      ways.push(text(route))
      const failed = failedEndpoint(route)
      if (failed !== undefined) tried.add(failed)
    }
    t.same(ways, ['waypoint 10.0.0.8 service-waypoint', through, last])
  }
})
