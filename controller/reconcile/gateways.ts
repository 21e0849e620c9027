import { isRecord } from '#base'
import type { Custom } from '#kube'
import type { Wanted } from './conditions.ts'

const ours = ['istio-waypoint']
const types = ['Accepted', 'Programmed']
const message = 'this release has no waypoints yet; nothing is deployed for this Gateway'

/** What the status of a Gateway shall say; one of somebody else's class is none of our business. */
export function gatewayConditions(gateway: Custom): Wanted {
  const className = isRecord(gateway.spec) ? gateway.spec['gatewayClassName'] : undefined
  if (typeof className !== 'string' || !ours.includes(className)) return { types: [], conditions: [] }
  return {
    types,
    conditions: [
      { type: 'Accepted', status: 'False', reason: 'Unsupported', message },
      { type: 'Programmed', status: 'False', reason: 'Invalid', message },
    ],
  }
}
