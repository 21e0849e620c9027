import type { ads } from '#wire'
import type { Holdings } from './holdings.ts'

/** How far a client has come with one type. Nonces, '' for none. */
export type TypeStatus = Readonly<{
  sent: string
  acked: string
  sentAt: Date | undefined
  lastError: string
}>

/** A connected client, for those who wonder what it has. */
export type ClientStatus = Readonly<{
  /** As it calls itself: `kind~address~pod.namespace~domain`. */
  nodeId: string
  cluster: string
  namespace: string
  version: string
  peer: string
  connectedAt: Date
  types: ReadonlyMap<string, TypeStatus>
  /** What it has, by type, in the order in which it asked. Looks through all of it. */
  holdings: () => readonly Holdings[]
}>

/** What is kept of a client's own words. */
const maxChars = 512

/** The parts of a node's description that are shown. */
export function nodeFacts({ id, metadata }: ads.Node) {
  const text = (key: string) => {
    const value: unknown = metadata?.[key]
    return typeof value === 'string' ? value.slice(0, maxChars) : ''
  }
  return {
    nodeId: id.slice(0, maxChars),
    cluster: text('CLUSTER_ID'),
    namespace: text('NAMESPACE'),
    version: text('ISTIO_VERSION'),
  }
}

export const unsent: TypeStatus = { sent: '', acked: '', sentAt: undefined, lastError: '' }
