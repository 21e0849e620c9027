import type { Socket } from 'node:net'

/** Ends a connection as hard as its kind can be ended: only TCP knows a reset. */
export function breakOff(socket: Socket): void {
  // While a FIN is under way the kernel's handle refuses a reset, and Node then never closes it.
  if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0)
    return void socket.destroy()
  try {
    socket.resetAndDestroy()
  } catch {
    socket.destroy()
  }
}
