import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import type { Handler } from '#xds'
import { addressHandler, authorizationHandler, type MeshState } from '../state/index.ts'
import type { Batch } from './messages.ts'

/**
 * Takes changes of the mesh. Those that come together are applied before anybody is judged by them: in between a
 * workload may name a policy that is still to come, or be there without the policy that came first. Control has applied
 * the same before: what it rejected is rejected here, and a failure is a bug. `recheck` is called when policies or the
 * records of this node's pods have changed.
 */
export function applier(state: MeshState, recheck: () => void): (batches: readonly Batch[]) => undefined {
  const handlers: Readonly<Record<string, Handler>> = {
    [addressTypeUrl]: addressHandler(state),
    [authorizationTypeUrl]: authorizationHandler(state),
  }
  let due = false
  state.onChange(({ policies, added, removed }) => {
    due ||= policies || added.length > 0 || removed.length > 0
  })
  return (batches) => {
    for (const { typeUrl, upserts, removed } of batches) handlers[typeUrl]?.apply(upserts, removed)
    if (due) recheck()
    due = false
  }
}
