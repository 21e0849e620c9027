import type { Ip } from '#base'

/** Where peers dial a pod's tunnel listener. */
export const hbonePort = 15008
/** Where redirected connections arrive in a pod. */
export const outboundPort = 15001
export const inboundPlaintextPort = 15006

/** Our own ports in a pod: a connection that means to go there would come back to us for ever. */
export const ownPorts: ReadonlySet<number> = new Set([outboundPort, inboundPlaintextPort, hbonePort])

/** 127.0.0.0/8 and ::1. */
export const isLoopback = (address: Ip): boolean => address.startsWith('127.') || address === '::1'
