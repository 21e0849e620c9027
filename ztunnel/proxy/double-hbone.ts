import { connectThrough, type OutboundTunnel } from '#hbone'

/** Says to the far end that the connection comes from another network, and from which. */
const networkHeader = 'x-forwarded-network'

type Through = Omit<Parameters<typeof connectThrough>[1], 'headers'> &
  Readonly<{ headers: Readonly<Record<string, string>>; network: string }>

/** The tunnel in the tunnel to a gateway, which passes its bytes on unread (ztunnel: outbound.rs send_double_hbone_request). */
export const openInner = (
  outer: OutboundTunnel,
  { network, ...o }: Through,
): ReturnType<typeof connectThrough> =>
  connectThrough(outer, { ...o, headers: { ...o.headers, [networkHeader]: network } })
