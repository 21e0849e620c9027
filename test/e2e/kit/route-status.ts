import { read } from './cluster.ts'
import type { Given } from './cases.ts'

type Condition = Readonly<{
  type: string
  status: string
  reason: string
  message: string
  observedGeneration?: number
}>
type Parent = Readonly<{
  parentRef: Readonly<Record<string, unknown>>
  controllerName: string
  conditions: readonly Condition[]
}>
type Told = Readonly<{
  metadata: Readonly<{ generation?: number }>
  spec: Readonly<{ parentRefs?: readonly Readonly<Record<string, unknown>>[] }>
  status?: Readonly<{ parents?: readonly Parent[]; conditions?: readonly Condition[] }>
}>

const controllerName = 'istio.io/gateway-controller'

/**
 * What is wrong with an object's own account of itself, as JSON. `wanted`: words such as `Accepted` (true) and
 * `ResolvedRefs=False/BackendNotFound`; a list for a route with several parents, in their order.
 */
export async function statusComplaint(
  { apiVersion = '', kind, metadata: { name, namespace = '' } }: Given,
  wanted: string | readonly string[],
): Promise<string | undefined> {
  const { metadata, spec, status } = (await read(apiVersion, kind, namespace, name)) as unknown as Told
  const complain = (what: string) => `${kind}/${name}: ${what}; it says ${JSON.stringify(status)}`
  if (!spec.parentRefs) {
    const wrong = conditionsComplaint(status?.conditions ?? [], wanted as string, metadata.generation)
    return wrong && complain(wrong)
  }
  const all = typeof wanted === 'string' ? spec.parentRefs.map(() => wanted) : wanted
  const told = status?.parents ?? []
  if (told.length !== spec.parentRefs.length) return complain(`${told.length} parents told`)
  for (const [i, ref] of spec.parentRefs.entries()) {
    const parent = told.find(({ parentRef }) =>
      ['group', 'kind', 'namespace', 'name', 'port', 'sectionName'].every(
        (key) => parentRef[key] === ref[key],
      ),
    )
    if (!parent) return complain(`nothing of parent ${JSON.stringify(ref)}`)
    if (parent.controllerName !== controllerName) return complain(`by ${parent.controllerName}`)
    const wrong = conditionsComplaint(parent.conditions, all[i] ?? '', metadata.generation)
    if (wrong) return complain(wrong)
  }
  return undefined
}

function conditionsComplaint(
  conditions: readonly Condition[],
  wanted: string,
  generation: number | undefined,
): string | undefined {
  const old = conditions.find(({ observedGeneration }) => observedGeneration !== generation)
  if (old) return `${old.type} is of generation ${old.observedGeneration}, not ${generation}`
  for (const word of wanted.split(' ').filter((word) => word !== '')) {
    const [type = '', state = 'True'] = word.split('=')
    const [status, reason] = state.split('/')
    // Of Istio's kinds, whose conditions are ours alone, by our name.
    const found = conditions.find((one) => one.type === type || one.type === `lateen.dev/${type}`)
    if (found?.status !== status || (reason !== undefined && found?.reason !== reason)) return `not ${word}`
  }
  return undefined
}
