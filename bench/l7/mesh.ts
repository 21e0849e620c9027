import {
  type HttpRule,
  type PathMatch,
  type PortRoutes,
  type ServiceRoutes,
  serviceRoutesTypeUrl,
} from '#routes'
import { targetedPolicyTypeUrl } from '#policy'
import { waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { serviceResource, workloadResource } from '../../test/fakes/mesh.ts'
import { defaultPolicy } from '../../waypoint/upstream/index.ts'
import type { Mesh } from './control.ts'
import { grpcPort, httpPort } from './orders.ts'

/** Addresses of services: one with a route, one with a thousand. */
export const vips = { web: '10.96.0.10', many: '10.96.0.11' } as const
const manyRoutes = 1_000
/** What the last of the thousand rules is for. */
export const lastPath = `/api/v1/part-${manyRoutes - 1}/items?page=2`

const hostOf = (name: string) => `demo/${name}.demo.svc.cluster.local`
const noOps = { set: [], add: [], remove: [] } as const

const ruleFor = (service: string, port: number, path: PathMatch): HttpRule => ({
  name: path.value,
  origin: { kind: 'HTTPRoute', name: 'demo/web' },
  match: { path },
  action: {
    kind: 'forward',
    destinations: [
      { weight: 1, to: { kind: 'service', service, port }, requestHeaders: noOps, responseHeaders: noOps },
    ],
    mirrors: [],
    timeoutMs: 15_000,
    retry: {
      attempts: 2,
      on: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled'],
      statuses: [],
      perTryTimeoutMs: 0,
      backoffBaseMs: 25,
      backoffMaxMs: 250,
      avoidPreviousHosts: true,
      otherLocalities: false,
    },
  },
  requestHeaders: noOps,
  responseHeaders: noOps,
})

function routesOf(name: string, paths: readonly string[]) {
  const service = hostOf(name)
  const port = (number: number): PortRoutes => ({
    port: number,
    protocol: 'http',
    http: paths.map((value) => ruleFor(service, number, { kind: 'segments', value })),
    l4: [],
  })
  const routes: ServiceRoutes = {
    version: 1,
    service,
    ports: [port(80), port(grpcPort)],
    policies: [defaultPolicy(service, 80), defaultPolicy(service, grpcPort)],
  }
  return { [service]: { bytes: Buffer.from(JSON.stringify(routes)) } }
}

type Places = Readonly<{
  /** Of the waypoint, and of the application's node. */
  waypoint: string
  app: string
  /** Workloads that nobody calls, spread over services of a hundred each. */
  bystanders: number
  /** The second service has its thousand routes. */
  manyRoutes: boolean
}>

const perService = 100

/** What the control plane says. */
export function meshOf({ waypoint, app, bystanders, manyRoutes: hasMany }: Places): Mesh {
  const served = Object.keys(vips).map((name) => [hostOf(name), { 80: httpPort, [grpcPort]: grpcPort }])
  const addresses: Record<string, { bytes: Uint8Array }> = {}
  const add = (resources: typeof addresses) => Object.assign(addresses, resources)
  for (const [name, vip] of Object.entries(vips))
    add(serviceResource({ name, vips: [vip], ports: { 80: httpPort, [grpcPort]: grpcPort }, waypoint }))
  add(workloadResource({ name: 'app', node: 'n2', addresses: [app], services: Object.fromEntries(served) }))
  add(workloadResource({ name: 'client', node: 'n1', addresses: ['127.0.0.1'] }))
  add(workloadResource({ name: 'waypoint', node: 'n1', addresses: [waypoint] }))
  for (let i = 0; i < bystanders; i++) {
    const service = `service-${Math.floor(i / perService)}`
    const at = `${i >> 8}.${i & 255}`
    if (i % perService === 0)
      add(serviceResource({ name: service, vips: [`10.97.${at}`], ports: { 80: httpPort }, waypoint }))
    add(
      workloadResource({
        name: `${service}-${i}`,
        node: `n${i % 50}`,
        addresses: [`10.1.${at}`],
        serviceAccount: service,
        workloadName: service,
        canonicalName: service,
        services: { [hostOf(service)]: { 80: httpPort } },
      }),
    )
  }
  const many = Array.from({ length: manyRoutes }, (_, i) => `/api/v1/part-${i}`)
  return {
    [addressTypeUrl]: addresses,
    [authorizationTypeUrl]: {},
    [targetedPolicyTypeUrl]: {},
    [serviceRoutesTypeUrl]: { ...routesOf('web', ['/']), ...(hasMany ? routesOf('many', many) : {}) },
    [waypointTelemetryTypeUrl]: {},
  }
}
