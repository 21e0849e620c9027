import { once } from 'node:events'
import http from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Test } from 'tap'
import { ip } from '#base'
import { HbonePool, type OutboundTunnel, serveHbone } from '#hbone'
import { parseSpiffeId, type SpiffeId } from '#identity'
import { type AttachedTo, encodeTargeted, targetedPolicyTypeUrl } from '#policy'
import {
  type DestinationPolicy,
  type Forward,
  type HttpRule,
  type PortRoutes,
  type RetryPolicy,
  type ServiceRoutes,
  serviceRoutesTypeUrl,
} from '#routes'
import { waypointTelemetryTypeUrl } from '#telemetry'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { policyResource, serviceResource, type WorkloadDraft, workloadResource } from '../fakes/mesh.ts'
import { createTestCa, type TestCa } from '../fakes/test-ca.ts'
import { defaultPolicy } from '../../waypoint/upstream/index.ts'
import { type RunningWaypoint, waypointIn } from '../fakes/waypoint-in.ts'

export const idOf = (name: string): SpiffeId => {
  const id = parseSpiffeId(`spiffe://cluster.local/ns/demo/sa/${name}`)
  if (!id) throw new Error(name)
  return id
}

/** What a client has got. */
type Got = Readonly<{ status: number; headers: http.IncomingHttpHeaders; body: string }>

/** A waypoint of service `web` (10.96.0.10:80) on this machine, and a client that calls through it. */
export type Scene = Readonly<{
  ca: TestCa
  running: RunningWaypoint
  /** A port of this machine whose connections go through the waypoint. */
  front(authority?: string): Promise<number>
  /** What a client's node does when its proxy is replaced: connections take no more tunnels. */
  leave(): void
  /** Opens a tunnel as `client`. */
  tunnel(authority?: string, as?: string): Promise<OutboundTunnel>
  /** Tells the waypoint of routes of service web's port 80. */
  route(port: Partial<PortRoutes>, policies?: readonly DestinationPolicy[]): Promise<void>
  /** Tells the waypoint of a policy that is attached to something. */
  policy(
    name: string,
    action: 'allow' | 'deny',
    principals: readonly string[],
    targets?: readonly AttachedTo[],
  ): Promise<void>
  /** One request on a connection of its own. */
  get(
    path: string,
    options?: http.RequestOptions & { authority?: string; send?: string | Buffer },
  ): Promise<Got>
  /** Lines of the access log. */
  lines(): readonly string[]
}>

export const vip = '10.96.0.10'
export const webKey = 'demo/web.demo.svc.cluster.local'

export const noOps = { set: [], add: [], remove: [] } as const
export const noRetries: RetryPolicy = {
  attempts: 0,
  on: [],
  statuses: [],
  perTryTimeoutMs: 0,
  backoffBaseMs: 25,
  backoffMaxMs: 250,
  avoidPreviousHosts: true,
  otherLocalities: false,
}
const origin = { kind: 'HTTPRoute', name: 'demo/web' } as const
export const toWeb = { kind: 'service', service: webKey, port: 80 } as const
const weighted = { weight: 1, to: toWeb, requestHeaders: noOps, responseHeaders: noOps }

/** A rule that sends to web. */
export const rule = (given: Partial<HttpRule> = {}, action: Partial<Forward> = {}): HttpRule => ({
  name: 'rule',
  origin,
  match: {},
  action: {
    kind: 'forward',
    destinations: [weighted],
    mirrors: [],
    timeoutMs: 0,
    retry: noRetries,
    ...action,
  },
  requestHeaders: noOps,
  responseHeaders: noOps,
  ...given,
})

export const policyOf = (given: Partial<DestinationPolicy>): DestinationPolicy => ({
  ...defaultPolicy(webKey, 80),
  ...given,
})

const routesOf = (port: Partial<PortRoutes>, policies: readonly DestinationPolicy[]): ServiceRoutes => ({
  version: 1,
  service: webKey,
  ports: [
    {
      port: 80,
      protocol: 'auto',
      http: [rule()],
      l4: [{ name: 'l4', origin, match: {}, destinations: [{ weight: 1, to: toWeb }] }],
      ...port,
    },
  ],
  policies: policies.length > 0 ? policies : [policyOf({})],
})

/** `endpoints`: addresses of this machine that serve the service's port 80 at a port. */
export async function scene(
  t: Test,
  endpoints: Readonly<Record<string, Readonly<{ address: string; port: number } & Partial<WorkloadDraft>>>>,
  env: Readonly<Record<string, string>> = {},
  types: readonly string[] = [
    addressTypeUrl,
    authorizationTypeUrl,
    targetedPolicyTypeUrl,
    serviceRoutesTypeUrl,
    waypointTelemetryTypeUrl,
  ],
  /** Of the waypoint's certificates. */
  lives: Readonly<{ lifeMs?: number }> = {},
): Promise<Scene> {
  const ca = createTestCa()
  const written: string[] = []
  const running = await waypointIn({ ca, types, env, ...lives, onLine: (line) => written.push(line) })
  t.teardown(() => running[Symbol.asyncDispose]())
  const workloads = Object.entries(endpoints).map(([name, { address, port, ...draft }]) =>
    workloadResource({
      name,
      node: 'n2',
      addresses: [address],
      tunnelProtocol: 0,
      services: { 'demo/web.demo.svc.cluster.local': { 80: port } },
      ...draft,
    }),
  )
  await running.push(
    addressTypeUrl,
    Object.assign(
      {},
      ...workloads,
      workloadResource({ name: 'client', node: 'n1', addresses: ['127.0.0.1'] }),
      serviceResource({ name: 'web', vips: [vip], ports: { 80: 8080 }, waypoint: '127.0.0.1' }),
    ),
  )
  const stop = new AbortController()
  const pool = new HbonePool({ signal: stop.signal })
  t.teardown(() => stop.abort())
  const port = running.waypoint.ports.hbone
  const tunnel = (authority = `${vip}:80`, as = 'client') =>
    pool.connect({
      key: {
        source: idOf(as),
        expected: [idOf('waypoint')],
        to: { address: ip('127.0.0.1'), port },
        sourceIp: '127.0.0.1',
      },
      certificate: async () => ca.workload(idOf(as)),
      dial: async () => {
        const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
        await once(socket, 'connect')
        return socket
      },
      authority,
      headers: {},
      signal: AbortSignal.timeout(20_000),
    })
  // What a ztunnel is to an app: a connection becomes a tunnel.
  const front = async (authority = `${vip}:80`) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined)
      tunnel(authority).then(
        (open) => open.forward(socket, stop.signal),
        () => socket.resetAndDestroy(),
      )
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    return (server.address() as AddressInfo).port
  }
  const fronts = new Map<string | undefined, Promise<number>>()
  const frontOf = (authority?: string) => {
    const known = fronts.get(authority) ?? front(authority)
    fronts.set(authority, known)
    return known
  }
  return {
    ca,
    running,
    tunnel,
    leave: () => pool.drain(),
    front: frontOf,
    route: (port, policies = []) =>
      running.push(serviceRoutesTypeUrl, {
        [webKey]: { bytes: Buffer.from(JSON.stringify(routesOf(port, policies))) },
      }),
    policy: async (
      name,
      action,
      principals,
      targets = [{ kind: 'Service', namespace: 'demo', name: 'web' }],
    ) => {
      const [entry] = Object.values(
        policyResource({
          name,
          action,
          principals,
          everything: principals.length === 0 && action === 'deny',
        }),
      )
      await running.push(targetedPolicyTypeUrl, {
        [`demo/${name}`]: { bytes: encodeTargeted(entry?.bytes ?? new Uint8Array(), targets) },
      })
    },
    get: async (path, { authority, send, ...options } = {}) =>
      ask(await frontOf(authority), path, options, send),
    lines: () => written,
  }
}

/** One request to a port of this machine, on a connection of its own. */
export async function ask(
  port: number,
  path: string,
  options: http.RequestOptions = {},
  send?: string | Buffer,
): Promise<Got> {
  const request = http.request({
    host: '127.0.0.1',
    port,
    path,
    agent: false,
    ...options,
    headers: { host: 'web.demo', ...(options.headers as http.OutgoingHttpHeaders | undefined) },
  })
  request.end(send)
  const [response] = (await once(request, 'response', { signal: AbortSignal.timeout(20_000) })) as [
    http.IncomingMessage,
  ]
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(parts).toString(),
  }
}

/** An HTTP server of this machine. */
export async function upstreamOf(
  t: Test,
  host: string,
  answer: http.RequestListener,
): Promise<{ address: string; port: number; server: http.Server }> {
  const server = http.createServer(answer)
  server.listen(0, host)
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { address: host, port: (server.address() as AddressInfo).port, server }
}

/** A TCP server of this machine. */
export async function tcpUpstream(
  t: Test,
  host: string,
  onSocket: (socket: Socket) => void,
): Promise<{ address: string; port: number; server: Server }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  server.listen(0, host)
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { address: host, port: (server.address() as AddressInfo).port, server }
}

/** An address of this machine that no other process of tests takes: mesh proxies have one port. `n` is 0, 1 or 2. */
export const ownAddress = (n: number): string => {
  const { pid } = process
  return `127.${80 + ((pid >> 14) & 127)}.${(pid >> 6) & 255}.${((pid & 63) << 2) + n + 1}`
}

/** The mesh proxy of an endpoint of this machine: tunnels to it end at `to`. */
export async function meshProxy(
  t: Test,
  ca: TestCa,
  name: string,
  to: Readonly<{ address: string; port: number }>,
): Promise<{ readonly connections: number }> {
  const certificate = ca.workload(idOf(name))
  const stop = new AbortController()
  let connections = 0
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections++
    serveHbone(socket, {
      certificate,
      signal: stop.signal,
      onTunnel: (tunnel) => {
        tunnel.accept()
        const app = connect({ host: to.address, port: to.port, allowHalfOpen: true })
        app.on('error', () => undefined)
        void tunnel.forward(app, stop.signal)
      },
    })
  })
  server.listen(15_008, to.address)
  await once(server, 'listening')
  t.teardown(() => {
    stop.abort()
    server.close()
  })
  return {
    get connections() {
      return connections
    },
  }
}
