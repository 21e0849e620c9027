import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ip, isIpv6 } from '#base'
import { bindSocket, tcpSocket } from '#linux'
import { startLogging } from '#telemetry'
import { type Sockets, startWaypoint, type Waypoint } from '../../waypoint/app.ts'
import { parseConfig } from '../../waypoint/config.ts'
import { FakeXds } from './fake-xds.ts'
import type { LogLine } from './mesh-world.ts'
import type { PodNet } from './pod-net.ts'
import type { TestCa } from './test-ca.ts'

type Resources = Readonly<Record<string, { version?: string; bytes: Uint8Array }>>

/** A waypoint with a control plane of its own, in this process. */
export type RunningWaypoint = AsyncDisposable &
  Readonly<{
    waypoint: Waypoint
    /** Its log as parsed JSON. */
    lines: readonly LogLine[]
    push(typeUrl: string, upserts: Resources, removed?: string[]): Promise<void>
  }>

type Options = Readonly<{
  ca: TestCa
  /** Types that it subscribes to: each is answered once with nothing. */
  types: readonly string[]
  /** In whose namespace it lives; none: in ours, on 127.0.0.1. */
  pod?: PodNet
  env?: Readonly<Record<string, string>>
  random?: () => number
  /** Of its own certificates. */
  lifeMs?: number
  /** Told of what is no log line of ours: requests. */
  onLine?: (line: string) => void
}>

const socketsIn = ({ netns }: PodNet): Sockets => ({
  listen: (port) => {
    const fd = tcpSocket({ netns, family: 'ipv6', reuseAddress: true })
    bindSocket(fd, { address: ip('::'), port })
    return { fd }
  },
  newSocket: (host) =>
    new Socket({ fd: tcpSocket({ netns, family: isIpv6(ip(host)) ? 'ipv6' : 'ipv4' }), allowHalfOpen: true }),
})

/** Starts a waypoint `waypoint` of namespace demo, whose service account is its name too. */
export async function waypointIn({
  ca,
  types,
  pod,
  env = {},
  random,
  lifeMs,
  onLine,
}: Options): Promise<RunningWaypoint> {
  const directory = mkdtempSync(join(tmpdir(), 'lateen-waypoint-'))
  writeFileSync(join(directory, 'root.pem'), ca.rootPem)
  writeFileSync(join(directory, 'token'), 'token')
  const xds = await FakeXds.start(ca)
  const config = parseConfig({
    POD_NAME: 'waypoint',
    POD_NAMESPACE: 'demo',
    SERVICE_ACCOUNT: 'waypoint',
    INSTANCE_IP: pod?.v4 ?? '127.0.0.1',
    ISTIO_META_NODE_NAME: 'n1',
    ISTIO_META_WORKLOAD_NAME: 'waypoint',
    CA_ADDR: xds.address,
    ROOT_CA: join(directory, 'root.pem'),
    AUTH_TOKEN: join(directory, 'token'),
    HBONE_PORT: pod ? '15008' : '0',
    ADMIN_PORT: '0',
    STATS_PORT: '0',
    READINESS_PORT: '0',
    ENVOY_PROMETHEUS_PORT: '0',
    TERMINATION_LINGER: '0ms',
    ACCESS_LOG_FORMAT: 'text',
    LOG_FORMAT: 'json',
    ...env,
  })
  const lines: LogLine[] = []
  const logs = startLogging({
    format: 'json',
    write: (line) => (line.startsWith('{') ? lines.push(JSON.parse(line)) : onLine?.(line.trimEnd())),
  })
  const sign = async (csr: string, id: Parameters<TestCa['sign']>[1]) => ca.sign(csr, id, lifeMs)
  const waypoint = await startWaypoint(config, {
    logs,
    sign,
    ...(pod ? { sockets: socketsIn(pod) } : {}),
    ...(random ? { random } : {}),
  })
  const stream = await xds.stream()
  const push = async (typeUrl: string, upserts: Resources, removed: string[] = []) => {
    const answers = xds.lines.length
    stream.send(typeUrl, upserts, removed)
    await xds.until(() => xds.lines.length > answers)
  }
  await xds.until(() => xds.lines.length >= types.length)
  for (const typeUrl of types) await push(typeUrl, {})
  return {
    waypoint,
    lines,
    push,
    [Symbol.asyncDispose]: async () => {
      await waypoint[Symbol.asyncDispose]()
      xds[Symbol.dispose]()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
