import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { ip, type SocketAddress } from '#base'
import { Registry, silent } from '#telemetry'
import {
  type DnsContext,
  dnsMetrics,
  InFlight,
  maxInFlight,
  startDnsProxy,
} from '../../../ztunnel/dns/index.ts'
import { MeshState, parseService, parseWorkload } from '../../../ztunnel/state/index.ts'
import { freePort } from '../../fakes/free-port.ts'
import { type ServiceDraft, serviceWire, workloadWire } from '../../fakes/mesh.ts'

type Asked = Readonly<{ bytes: Buffer; transport: 'udp' | 'tcp' }>
/** Returns the answers, none for silence. */
export type Behaviour = (asked: Asked) => Buffer | readonly Buffer[] | undefined

/** A nameserver on a port of its own, which remembers what it was asked. */
export async function upstream(behaviour: Behaviour) {
  const seen: Asked[] = []
  const askers: { bytes: Buffer; from: RemoteInfo }[] = []
  const answers = (asked: Asked) => {
    seen.push(asked)
    const some = behaviour(asked) ?? []
    return Buffer.isBuffer(some) ? [some] : some
  }
  const udp = createSocket('udp4')
  udp.on('message', (bytes, from) => {
    askers.push({ bytes, from })
    for (const each of answers({ bytes, transport: 'udp' })) udp.send(each, from.port, from.address)
  })
  const open = new Set<Socket>()
  const tcp = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', (bytes: Buffer) => {
      for (const each of answers({ bytes: bytes.subarray(2), transport: 'tcp' })) socket.write(framed(each))
    })
  })
  const port = await freePort()
  tcp.listen(port, '127.0.0.1')
  await once(tcp, 'listening')
  udp.bind(port, '127.0.0.1')
  await once(udp, 'listening')
  const address: SocketAddress = { address: ip('127.0.0.1'), port }
  return {
    address,
    seen,
    /** Answers what was asked over UDP so far. */
    answerLate: (answer: (bytes: Buffer) => Buffer) => {
      for (const { bytes, from } of askers) udp.send(answer(bytes), from.port, from.address)
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy()
      udp.close()
      tcp.close()
    },
  }
}

export const framed = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes])

export const services: readonly ServiceDraft[] = [
  { name: 'web', vips: ['10.0.0.1'] },
  { name: 'ext', hostname: 'example.com', vips: ['240.0.0.1'] },
]

/** A proxy for a pod of namespace demo on loopback, with no namespace of its own. */
export async function proxy(
  nameservers: readonly SocketAddress[],
  change: Partial<DnsContext> & { lines?: string[] } = {},
) {
  const registry = new Registry()
  const state = new MeshState('node')
  state.apply({ services: services.map((draft) => parseService(serviceWire(draft))) })
  const address = change.config?.address ?? { address: ip('127.0.0.1'), port: await freePort() }
  const taken = new InFlight(1_000)
  const context: DnsContext = {
    state,
    network: '',
    mark: 0,
    config: { domain: 'cluster.local', preferredNamespace: undefined, ipv6: true, address },
    resolvConf: () => ({ nameservers, search: [] }),
    inFlight: new InFlight(maxInFlight),
    admission: { take: () => taken.take() },
    metrics: dnsMetrics(registry),
    log: silent,
    random: Math.random,
    // Nobody's answer is late, however slow the machine.
    times: { deadlineMs: 20_000, nextAttemptMs: 20_000, idleMs: 2_000 },
    ...change,
  }
  const pod = { name: 'client', namespace: 'demo', serviceAccount: 'client', uid: 'uid-client' }
  const running = await startDnsProxy({ context, pod })
  return {
    address,
    registry,
    context,
    descriptors: () => taken.count,
    drain: () => running.drain(),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  }
}

/** A datagram's reply; undefined when there is none in time. */
export async function askUdp(to: SocketAddress, bytes: Buffer, ms = 20_000): Promise<Buffer | undefined> {
  const socket = createSocket('udp4')
  try {
    const reply = once(socket, 'message', { signal: AbortSignal.timeout(ms) })
    socket.send(bytes, to.port, to.address)
    const [answer]: unknown[] = await reply
    return Buffer.isBuffer(answer) ? answer : undefined
  } catch {
    return undefined
  } finally {
    socket.close()
  }
}

/** The replies to several messages on one connection, until `count` have come or it ends. */
export async function askTcp(to: SocketAddress, bytes: Buffer, count = 1): Promise<readonly Buffer[]> {
  const socket = connect({ host: to.address, port: to.port })
  socket.on('error', () => undefined)
  const replies: Buffer[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  let held = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
      const end = 2 + held.readUInt16BE(0)
      replies.push(held.subarray(2, end))
      held = held.subarray(end)
    }
    if (replies.length >= count) resolve()
  })
  socket.on('close', () => resolve())
  socket.write(bytes)
  await promise
  socket.destroy()
  return replies
}

/** A headless service with more endpoints than one answer names. */
export function manyEndpoints(state: MeshState): void {
  const services = { 'demo/many.demo.svc.cluster.local': { 80: 80 } }
  state.apply({
    services: [parseService(serviceWire({ name: 'many' }))],
    workloads: Array.from({ length: 2_500 }, (_, n) =>
      parseWorkload(workloadWire({ name: `p${n}`, addresses: [`10.7.${n >> 8}.${n & 255}`], services })),
    ),
  })
}

/** The lines of a proxy's metrics that match. */
export const metric = async ({ registry }: Readonly<{ registry: Registry }>, line: RegExp) =>
  (await registry.metrics()).split('\n').filter((each) => line.test(each))
