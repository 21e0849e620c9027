import { messageOf } from '#base'
import { decodeAuthorization, type PolicyName } from '#policy'
import type { Handler, Rejection } from '#xds'
import type { Service, Workload } from './mesh.ts'
import type { MeshState } from './mesh-state.ts'
import { parseAddressResource } from './parse.ts'

/** Address resources → state. A bad one is rejected by name and what was held of it stays; the others apply. */
export const addressHandler = (state: MeshState): Handler => ({
  apply(upserts, removed) {
    const workloads: Workload[] = []
    const services: Service[] = []
    const rejected: Rejection[] = []
    for (const { name, bytes } of upserts) {
      try {
        const parsed = parseAddressResource(bytes)
        if (parsed.kind === 'workload') workloads.push(parsed.value)
        else services.push(parsed.value)
      } catch (error) {
        rejected.push({ name, reason: messageOf(error) })
      }
    }
    state.apply({ workloads, services, removed })
    return rejected
  },
})

/** Authorization resources → state. One with unreadable parts applies closed and is rejected as well, so that it is seen. */
export const authorizationHandler = (state: MeshState): Handler => ({
  apply(upserts, removed) {
    const policies = upserts.map(({ name, bytes }) => decodeAuthorization(name, bytes))
    state.applyPolicies(policies, removed as readonly PolicyName[])
    return policies
      .filter(({ problems }) => problems.length > 0)
      .map(({ name, problems }) => ({ name, reason: problems.join(', ') }))
  },
})
