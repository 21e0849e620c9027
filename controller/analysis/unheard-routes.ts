import { isRecord } from '#base'
import { type Custom, keyOf } from '#kube'
import { noAddress } from '../routes/index.ts'
import { message, type Message } from './message.ts'
import type { World } from './world.ts'

/** Routes that count for a service which no waypoint acts for. Istio's status has no room for that but a sentence. */
export function unheardRoutes({ routes }: World): readonly Message[] {
  const services = new Map(routes.services.list().map((one) => [`${one.kind} ${one.key}`, one]))
  return Object.entries(routes.statuses).flatMap(([kind, rows]) =>
    rows.keys().flatMap((key) => {
      const [own = ''] = key.split('/')
      return (rows.get(key) ?? []).flatMap(({ parentRef, conditions }) => {
        const { kind: of, namespace = own, name } = parentRef
        const parent = [of, [namespace, name].join('/')].join(' ')
        const counts = conditions.some(({ type, status }) => type === 'Accepted' && status === 'True')
        const service = services.get(parent)
        if (!counts || !service || (service.waypoints.length > 0 && service.isAddressed)) return []
        const why =
          service.waypoints.length === 0
            ? 'has no waypoint (label istio.io/use-waypoint) that is ready, so nobody acts on this route'
            : `${noAddress}, so nobody acts on this route`
        return [message('IneffectivePolicy', `${kind} ${key}`, `${parent} ${why}`)]
      })
    }),
  )
}

/** Host names of routes for services, which the Gateway API has nobody look at there. */
export function unheededHosts({ of, routes }: World): readonly Message[] {
  return (['HTTPRoute', 'GRPCRoute'] as const).flatMap((kind) =>
    (of(kind) as readonly Custom[]).flatMap((route) => {
      const hosts: unknown = isRecord(route.spec) ? route.spec['hostnames'] : undefined
      const isForService = (routes.statuses[kind].get(keyOf(route)) ?? []).length > 0
      if (!isForService || !Array.isArray(hosts) || hosts.length === 0) return []
      const text = 'spec.hostnames: not looked at for a service'
      return [message('IneffectivePolicy', `${kind} ${keyOf(route)}`, text)]
    }),
  )
}
