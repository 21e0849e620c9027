/**
 * Runs in a pod's network: `node ping.ts <host> <port> <seconds>` measures round trips of one byte on one connection,
 * then short connections of one round trip each, and prints both as JSON.
 */
import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { percentile } from '../stats.ts'

const [host = '', port = '', seconds = '2'] = process.argv.slice(2)
const open = async (): Promise<Socket> => {
  const socket = connect({ host, port: Number(port), noDelay: true })
  await once(socket, 'connect')
  return socket
}
const byte = Buffer.from('x')
const roundTrip = async (socket: Socket) => {
  socket.write(byte)
  await once(socket, 'data')
}

const socket = await open()
for (let i = 0; i < 500; i++) await roundTrip(socket)
const micros: number[] = []
for (const end = Date.now() + Number(seconds) * 1000; Date.now() < end; ) {
  const start = process.hrtime.bigint()
  await roundTrip(socket)
  micros.push(Number(process.hrtime.bigint() - start) / 1000)
}
socket.destroy()

const parallel = 16
let connections = 0
const end = Date.now() + Number(seconds) * 1000
await Promise.all(
  Array.from({ length: parallel }, async () => {
    while (Date.now() < end) {
      const short = await open()
      await roundTrip(short)
      short.end()
      await once(short, 'close')
      connections++
    }
  }),
)
process.stdout.write(
  JSON.stringify({
    p50: percentile(micros, 0.5),
    p99: percentile(micros, 0.99),
    connectionsPerSecond: connections / Number(seconds),
  }),
)
