import { type Collection, type Condition, derive } from '#kube'
import type { Rejection } from './xds/index.ts'

/**
 * What the status of policies says: as it was compiled, unless a ztunnel says that it cannot take one as it is now. Known
 * to the replica that the ztunnel is connected to; it is told when that is the one that writes.
 */
export const withRejections = (
  compiled: Collection<readonly Condition[]>,
  rejected: Collection<Rejection>,
): Collection<readonly Condition[]> =>
  derive('PolicyStatus', compiled, (conditions, fetch, key): readonly Condition[] => {
    const rejection = fetch.one(rejected, key)
    if (rejection === undefined) return conditions
    return conditions.map((condition) =>
      condition.type === 'ZtunnelAccepted'
        ? { type: condition.type, status: 'False', reason: 'Rejected', message: sentence(rejection) }
        : condition,
    )
  })

const sentence = ({ clients, message }: Rejection): string =>
  `${clients === 1 ? 'a ztunnel rejects' : `${clients} ztunnels reject`} it: ${message}`
