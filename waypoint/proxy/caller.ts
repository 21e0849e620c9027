import type { InboundTunnel } from '#hbone'
import { partsOf } from '#identity'
import type { Caller } from '#routes'
import { labelOf } from '#wire'
import type { ProxyContext } from './context.ts'

/** Who calls, as its certificate proves it; its labels are those of the workload at its address, if that has its identity. */
export function callerOf(
  { peer, remote }: Pick<InboundTunnel, 'peer' | 'remote'>,
  { state, network }: Pick<ProxyContext, 'state' | 'network'>,
): Caller {
  return {
    principal: peer,
    namespace: partsOf(peer).namespace,
    // Asked when a rule wants to know: the mesh may have learned it since.
    label: (key) => {
      const row = state.workloadAt(network, remote.address)
      return row?.identity === peer ? labelOf(row, row.labels, key) : ''
    },
  }
}
