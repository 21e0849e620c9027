import { isRecord } from '#base'
import type { Custom } from '#kube'

/** What becomes of the Gateways of a class. */
export type ClassKind = 'waypoint' | 'remote' | 'ingress' | 'east-west'
export type BuiltInClass = Readonly<{
  name: string
  controllerName: string
  kind: ClassKind
  description: string
  /** False: this release does not deploy it, so the class is not made and is refused where somebody else made it. */
  served: boolean
}>

/** Istio's classes and the controllers that they name. */
export const builtInClasses: readonly BuiltInClass[] = [
  {
    name: 'istio-waypoint',
    controllerName: 'istio.io/mesh-controller',
    kind: 'waypoint',
    description: 'A waypoint for the ambient services and workloads of a namespace',
    served: true,
  },
  {
    name: 'istio-remote',
    controllerName: 'istio.io/unmanaged-gateway',
    kind: 'remote',
    description: 'A gateway somewhere else; nothing is deployed for it',
    served: true,
  },
  {
    name: 'istio',
    controllerName: 'istio.io/gateway-controller',
    kind: 'ingress',
    description: 'An ingress gateway',
    served: false,
  },
  {
    name: 'istio-east-west',
    controllerName: 'istio.io/eastwest-controller',
    kind: 'east-west',
    description: 'A gateway between networks',
    served: false,
  },
]

/** Who a GatewayClass says looks after it. */
export const controllerNameOf = (gatewayClass: Custom): unknown =>
  isRecord(gatewayClass.spec) ? gatewayClass.spec['controllerName'] : undefined

/**
 * Which of ours the class of this name is: by the controller that its object names (users make classes of their own),
 * or, when there is no object yet, by the name alone. Undefined: somebody else's.
 */
export function classOf(name: string, object: Custom | undefined): BuiltInClass | undefined {
  if (object === undefined) return builtInClasses.find((known) => known.name === name)
  const controllerName = controllerNameOf(object)
  return builtInClasses.find((known) => known.controllerName === controllerName)
}
