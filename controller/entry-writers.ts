import { kinds } from '#kube'
import { conditionWriter, vipWriter, type Writer } from './reconcile/index.ts'
import type { Scope, WriterOptions } from './writers.ts'

const types = ['istio.io/VisibilityApplied']

/** What the leader writes into the status of ServiceEntries. */
export const entryWriters = (
  { client, inputs, mesh, vipRanges, log }: WriterOptions,
  scope: Scope,
): readonly Writer[] => [
  vipWriter({
    client,
    objects: inputs.serviceEntries,
    entries: mesh.serviceEntries,
    hidden: mesh.hiddenNamespaces,
    ranges: vipRanges,
    scope,
    log,
  }),
  conditionWriter({
    client,
    kind: kinds.ServiceEntry,
    objects: inputs.serviceEntries,
    also: mesh.entryConditions,
    wanted: (_, key) => {
      const conditions = mesh.entryConditions.get(key)
      // Somebody else's, in a namespace that we do not look at.
      return { types: conditions ? types : [], conditions: conditions ?? [] }
    },
    scope,
    fieldManager: 'istio-ambient-service',
    log,
  }),
]
