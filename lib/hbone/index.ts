export type { InboundTunnel, OutboundTunnel, Transferred, Tunnel } from './tunnel.ts'
