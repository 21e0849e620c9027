import type { Socket } from 'node:net'

/** Ends a connection as hard as its kind can be ended: only TCP knows a reset. */
export function breakOff(socket: Socket): void {
  try {
    socket.resetAndDestroy()
  } catch {
    socket.destroy()
  }
}
