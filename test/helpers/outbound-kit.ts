import { ip, parseAddress } from '#base'
import {
  MeshState,
  type OutboundQuestion,
  parseService,
  parseWorkload,
  resolveOutbound,
  type Route,
} from '../../ztunnel/state/index.ts'
import { serviceWire, type ServiceDraft, type WorkloadDraft, workloadWire } from '../fakes/mesh.ts'

export const web = 'demo/web.demo.svc.cluster.local'
export const wp = 'demo/wp.demo.svc.cluster.local'

/** A node's mesh: its client, and what else there is. */
export const meshOf = (workloads: readonly WorkloadDraft[], services: readonly ServiceDraft[] = []) => {
  const state = new MeshState('n1')
  const client: WorkloadDraft = { name: 'client', node: 'n1', addresses: ['10.0.0.1', 'fd00::1'] }
  state.apply({
    workloads: [client, ...workloads].map((draft) => parseWorkload(workloadWire(draft))),
    services: services.map((draft) => parseService(serviceWire(draft))),
  })
  return state
}

/** Where a connection of the client goes. */
export const ask = (state: MeshState, to: string, question: Partial<OutboundQuestion> = {}): Route => {
  const source = state.localWorkload({ namespace: 'demo', name: 'client', serviceAccount: 'client' })
  const origDst = parseAddress(to)
  if (!source || !origDst) throw new Error(to)
  const asked = { source, sourceIp: ip('10.0.0.1'), network: '', random: () => 0, ...question }
  return resolveOutbound(state, asked, origDst)
}
