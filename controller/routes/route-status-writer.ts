import type { Collection, Custom } from '#kube'
import { statusWriter, type StatusWriterOptions, type Writer } from '../reconcile/index.ts'
import type { RouteStatus } from './gateway-api-status.ts'
import { mergedParents } from './parent-statuses.ts'

type RouteStatusWriterOptions = Omit<StatusWriterOptions<Custom>, 'also' | 'fieldManager'> &
  Readonly<{ statuses: Pick<Collection<RouteStatus>, 'get' | 'subscribe'> }>

/** Keeps our entries among the parents of the routes of one kind. */
export const routeStatusWriter = ({ statuses, ...options }: RouteStatusWriterOptions): Writer =>
  statusWriter(
    'parents',
    ({ status, metadata: { generation } }, key, time) => {
      const wanted = statuses.get(key)
      if (wanted === undefined) return undefined // somebody else's, in a namespace that we do not look at
      const parents = mergedParents(status, wanted, generation, time)
      return parents && { parents }
    },
    { ...options, also: statuses, fieldManager: 'istio-gateway-status' },
  )
