/** Runs in a pod: answers every byte with itself. */
import { createServer } from 'node:net'

createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy())
  socket.pipe(socket)
}).listen(Number(process.argv[2] ?? 5300), '::')
