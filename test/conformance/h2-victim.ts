// A proxy of ours in a process of its own, so that its memory can be measured: `server <app port>` takes HBONE and
// dials the port or the named socket that a CONNECT asks for; `client <HBONE port>` takes plain connections and makes tunnels of them.
import { readdirSync } from 'node:fs'
import { once } from 'node:events'
import { connect as connectTo, createServer, type Socket } from 'node:net'
import { ip } from '#base'
import { HbonePool, serveHbone } from '#hbone'
import type { WorkloadCertificate } from '#identity'
import { limitBuffers, processBudget, unsentBudget } from '../../lib/hbone/memory.ts'
import { dial, never, towards } from '../lib/hbone/support.ts'
import type { Figures, Order } from './h2-victim-kit.ts'

let own: WorkloadCertificate | undefined
let peer: WorkloadCertificate | undefined
const tame = (socket: Socket) => socket.on('error', () => undefined)
const at = (port: number) => ({ address: ip('127.0.0.1'), port })

async function dialPath(path: string): Promise<Socket> {
  const socket = tame(connectTo({ path, allowHalfOpen: true }))
  await once(socket, 'connect')
  return socket
}

function serve(socket: Socket): void {
  if (!own) throw new Error('no certificate')
  serveHbone(tame(socket), {
    certificate: own,
    signal: never,
    onTunnel: (tunnel) => {
      const [host = '', port = ''] = tunnel.authority.split(':')
      void (host.startsWith('10.') ? dial(at(Number(port))) : dialPath(`\0${host}`))
        .then((app) => {
          tunnel.accept()
          return tunnel.forward(app, never)
        })
        .catch(() => tunnel.refuse(503))
    },
  })
}

const pool = new HbonePool({ signal: never })
function connect(socket: Socket, port: number): void {
  if (!own || !peer) throw new Error('no certificate')
  const options = towards(at(port), own, [peer.id])
  void pool
    .connect({ ...options, authority: '10.0.0.1:80' })
    .then((tunnel) => tunnel.forward(tame(socket), never))
    .catch(() => socket.destroy())
}

function figures(): Figures {
  for (let i = 0; i < 2; i++) globalThis.gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  const handles = process.getActiveResourcesInfo().filter((one) => /TCP|Pipe/.test(one)).length
  const fds = readdirSync('/proc/self/fd').length
  return { rss, heapUsed, external, waiting: processBudget.used, unsent: unsentBudget.used, handles, fds }
}

function start({ role, to }: Extract<Order, { kind: 'start' }>): void {
  const onSocket = (socket: Socket) => (role === 'server' ? serve(socket) : connect(socket, to))
  const options = { allowHalfOpen: true, noDelay: true, pauseOnConnect: role === 'client' }
  const listener = createServer(options, onSocket)
  listener.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    const address = listener.address()
    process.send?.({ kind: 'listening', port: typeof address === 'object' ? address?.port : 0 })
  })
}

process.on('message', (order: Order) => {
  if (order.kind === 'start') {
    own = order.own
    peer = order.peer
    if (order.bufferBytes !== undefined) limitBuffers(order.bufferBytes)
    start(order)
  } else process.send?.({ kind: 'figures', figures: figures() })
})
process.on('disconnect', () => process.exit())
