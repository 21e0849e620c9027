import { isRecord } from '#base'
import type { Custom } from '#kube'

/** What becomes of the Gateways of a class. */
export type ClassKind = 'waypoint' | 'remote' | 'ingress' | 'east-west'
export type BuiltInClass = Readonly<{
  name: string
  controllerName: string
  kind: ClassKind
  /** The Gateway API allows 64 characters. */
  description: string
}>

/** Istio's switches of the classes. */
export type ClassOptions = Readonly<{
  /** PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME */
  ingressClass: string
  /** PILOT_GATEWAY_API_CONTROLLER_NAME */
  ingressController: string
  /** AMBIENT_ENABLE_MULTI_NETWORK */
  eastWest: boolean
  /** PILOT_MULTI_NETWORK_DISCOVER_GATEWAY_API */
  remote: boolean
}>

export const defaultClassOptions: ClassOptions = {
  ingressClass: 'istio',
  ingressController: 'istio.io/gateway-controller',
  eastWest: false,
  remote: true,
}

/** Istio's classes and the controllers that they name: those that are looked after with these options. */
export function builtInClasses(options: ClassOptions): readonly BuiltInClass[] {
  const eastWest: BuiltInClass = {
    name: 'istio-east-west',
    controllerName: 'istio.io/eastwest-controller',
    kind: 'east-west',
    description: 'A gateway between networks',
  }
  const remote: BuiltInClass = {
    name: 'istio-remote',
    controllerName: 'istio.io/unmanaged-gateway',
    kind: 'remote',
    description: 'A gateway somewhere else; nothing is deployed for it',
  }
  return [
    {
      name: 'istio-waypoint',
      controllerName: 'istio.io/mesh-controller',
      kind: 'waypoint',
      description: 'A waypoint for ambient services and workloads',
    },
    {
      name: options.ingressClass,
      controllerName: options.ingressController,
      kind: 'ingress',
      description: 'An ingress gateway',
    },
    ...(options.eastWest ? [eastWest] : []),
    ...(options.remote ? [remote] : []),
  ]
}

/** Who a GatewayClass says looks after it. */
const controllerNameOf = (gatewayClass: Custom): unknown =>
  isRecord(gatewayClass.spec) ? gatewayClass.spec['controllerName'] : undefined

/**
 * Which of ours the class of this name is: by the controller that its object names (users make classes of their own),
 * or, when there is no object yet, by the name alone. Undefined: somebody else's.
 */
export function classOf(
  known: readonly BuiltInClass[],
  name: string,
  object: Custom | undefined,
): BuiltInClass | undefined {
  if (object === undefined) return known.find((one) => one.name === name)
  const controllerName = controllerNameOf(object)
  return known.find((one) => one.controllerName === controllerName)
}

/**
 * Why nothing is deployed for Gateways of a class: a data plane that does not exist is not pretended. Undefined where
 * there is one, or where none is needed.
 */
export function missingDataPlane({ kind, name }: BuiltInClass): string | undefined {
  if (kind === 'waypoint' || kind === 'remote') return undefined
  const what = kind === 'ingress' ? 'ingress gateways' : 'gateways between networks'
  return `this release has no program for ${what}: nothing is deployed for class ${name} and nothing answers at this Gateway`
}
