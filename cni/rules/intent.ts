/** What the kernel of a pod's network namespace is meant to do. Everything rendered and verified follows from this alone. */
export type PodRules = Readonly<{
  /** IPv6 rules too (AMBIENT_IPV6). */
  ipv6: boolean
  /** Port 53 to ztunnel's DNS proxy. */
  dnsCapture: boolean
  /** `ambient.istio.io/bypass-inbound-capture`: plaintext inbound is left alone; outbound and HBONE are not. */
  ingressMode: boolean
  /** `istio.io/reroute-virtual-interfaces`: TCP that enters from these is outbound. */
  virtualInterfaces: readonly string[]
  phase: Phase
}>

/**
 * `capture`: the normal state.
 * `joining`: a pod enrolled while it runs. Only connections that begin now are captured: the kernel sees the packets of
 *   older ones as new too, and redirecting those in mid-stream would reset every request in flight.
 * `leaving`: nothing new is captured, but the tables stay, and with them the address translation of tunnels in flight.
 */
export type Phase = 'joining' | 'capture' | 'leaving'

/** Marks, ports and addresses of in-pod redirection. All of them are Istio's; ztunnel depends on each. */
export const wire = {
  /** On every socket of ztunnel. */
  proxyMark: 0x539,
  /** On connections that ztunnel opened toward the app, so that the app's answers return through lo. */
  returnMark: 0x111,
  markMask: 0xfff,
  outboundPort: 15001,
  inboundPort: 15006,
  hbonePort: 15008,
  dnsPort: 15053,
  routeTable: 100,
  rulePriority: 32764,
  /** Probes from the node arrive with this source, see host rules. */
  probe: { ipv4: '169.254.7.127', ipv6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' },
  /** One address, not 127.0.0.0/8: apps do listen on others of the block (as Istio). */
  loopback: { ipv4: '127.0.0.1', ipv6: '::1' },
} as const

/** Of addresses. */
export type Family = 'ipv4' | 'ipv6'
export const familiesOf = ({ ipv6 }: Pick<PodRules, 'ipv6'>): readonly Family[] =>
  ipv6 ? ['ipv4', 'ipv6'] : ['ipv4']
export const hex = (n: number): string => `0x${n.toString(16)}`
