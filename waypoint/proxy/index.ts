/** One connection of a peer's proxy, and the tunnels in it. */
export { Attachments } from './attachments.ts'
export { Connections } from './connections.ts'
export type { ProxyContext } from './context.ts'
export { type HboneListener, type ListenAt, listenHbone } from './listener.ts'
export { handleTunnel, tunnelLoad } from './tunnel.ts'
