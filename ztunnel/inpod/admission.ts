import type { Socket } from 'node:net'

/** Descriptors that one proxied connection may take: the app's, the peer's, and a share of what is pooled. */
const perConnection = 3
/** Share of the descriptor limit that connections may take; the rest is for control, logs and listeners. */
const share = 0.9

/** Refuses connections by plan before the kernel does it by accident: at EMFILE libuv drops whoever comes, silently. */
export type Admission = Readonly<{
  /** Counts the socket until it closes; false, and the socket is reset, when there is no room. */
  admit(socket: Socket): boolean
  open(): number
}>

export function admission(fileLimit: number, onShed: () => void): Admission {
  const most = Math.max(16, Math.floor((fileLimit * share) / perConnection))
  let open = 0
  return {
    admit: (socket) => {
      if (open >= most) {
        onShed()
        socket.on('error', () => undefined)
        socket.resetAndDestroy()
        return false
      }
      open++
      socket.once('close', () => open--)
      return true
    },
    open: () => open,
  }
}
