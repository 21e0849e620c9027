import { isRecord } from '#base'
import {
  type At,
  atMostOne,
  type Check,
  type Fields,
  fields,
  filled,
  into,
  list,
  listAt,
  refuse,
  shown,
  text,
  warn,
} from './check.ts'
import { labels } from './formats.ts'

/** By `group/kind`; the group of a Service may be `core`. */
const kinds = [
  'gateway.networking.k8s.io/Gateway',
  'gateway.networking.k8s.io/GatewayClass',
  '/Service',
  'core/Service',
  'networking.istio.io/ServiceEntry',
]
const maxRefs = 16

const targetRef: Check = fields({ group: text, kind: filled, name: filled, namespace: text }, (value, at) => {
  const { group = '', kind, name, namespace } = value
  if (name === undefined) refuse(into(at, 'name'), 'is needed')
  const named = `${String(group)}/${String(kind)}`
  if (!kinds.includes(named))
    refuse(
      at,
      `${shown(named)} is no target; a Service, ServiceEntry, Gateway or GatewayClass with its group is`,
    )
  if (namespace !== undefined && namespace !== '')
    refuse(into(at, 'namespace'), 'targets are in the namespace of the object; leave it out')
})

/** What chooses the workloads that an object is for. */
export const targeting = {
  selector: fields({ matchLabels: labels }),
  targetRef,
  targetRefs: list(targetRef, { most: maxRefs }),
}

/** A selector or targets; and a selector means nothing to a waypoint. */
export function oneTargeting(value: Fields, at: At): void {
  const refs = listAt(value, 'targetRefs').length > 0 ? ['targetRefs'] : []
  atMostOne(
    {
      selector: value['selector'],
      targetRef: value['targetRef'],
      ...(refs.length ? { targetRefs: true } : {}),
    },
    at,
    ['selector', 'targetRef', 'targetRefs'],
  )
  if (isRecord(value['selector']))
    warn(
      into(at, 'selector'),
      'waypoints do not heed it, and ztunnel does not read this kind; name the Service in targetRefs',
    )
}
