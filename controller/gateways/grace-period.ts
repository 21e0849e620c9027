import { isRecord } from '#base'
import type { Child } from './render.ts'

/** The variable by which a waypoint knows how long it has when it is to end: a pod cannot read that of itself. */
const variable = 'TERMINATION_GRACE_PERIOD_SECONDS'
/** What a waypoint takes without it, and what it understands. */
const [assumed, least, most] = [30, 2, 86_400]

/** A Deployment whose waypoint drains for as long as its pods may take, where an overlay has changed that and says nothing else. */
export function withGracePeriod(child: Child): Child {
  const { spec } = child
  const template = isRecord(spec) ? spec['template'] : undefined
  const pod = isRecord(template) ? template['spec'] : undefined
  if (child.kind !== 'Deployment' || !isRecord(spec) || !isRecord(template) || !isRecord(pod)) return child
  const seconds = pod['terminationGracePeriodSeconds']
  const containers: unknown = pod['containers']
  if (typeof seconds !== 'number' || seconds === assumed || !Array.isArray(containers)) return child
  const told = { name: variable, value: String(Math.min(Math.max(seconds, least), most)) }
  const all = containers.map((one: unknown) => withVariable(one, told))
  return { ...child, spec: { ...spec, template: { ...template, spec: { ...pod, containers: all } } } }
}

function withVariable(container: unknown, told: Readonly<{ name: string; value: string }>): unknown {
  if (!isRecord(container) || container['name'] !== 'istio-proxy') return container
  const env: readonly unknown[] = Array.isArray(container['env']) ? container['env'] : []
  const has = env.some((one) => isRecord(one) && one['name'] === told.name)
  return has ? container : { ...container, env: [...env, told] }
}
