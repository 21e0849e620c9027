import { kinds, type KubeClient, reflect } from '#kube'
import type { Logger } from '#telemetry'
import type { Inputs } from './collections/index.ts'
import { classStatusWriter, classWriter, gatewayWriter, type GatewayWriterOptions } from './gateways/index.ts'
import type { Writer } from './reconcile/index.ts'

export type GatewayOptions = Readonly<{
  rootNamespace: string
  /** What all waypoints have in common. */
  render: GatewayWriterOptions['render']
}>
type Options = GatewayOptions &
  Readonly<{ client: KubeClient; namespace: string; inputs: Inputs; signal: AbortSignal; log: Logger }>

/** What keeps the GatewayClasses and whatever Gateways of ours ask for. */
export function gatewayWriters(options: Options): readonly Writer[] {
  const { client, namespace, inputs, rootNamespace, render, signal, log } = options
  // The children of our waypoints only: all Deployments and accounts of a cluster are none of our business.
  const ours = { signal, log, labelSelector: 'gateway.istio.io/managed=istio.io-mesh-controller' }
  const classes = inputs.gatewayClasses
  const gateways = gatewayWriter({
    client,
    namespace,
    rootNamespace,
    render,
    gateways: inputs.gateways,
    classes,
    namespaces: inputs.namespaces,
    services: inputs.services,
    slices: inputs.slices,
    deployments: reflect(client, kinds.Deployment, ours),
    accounts: reflect(client, kinds.ServiceAccount, ours),
    log,
  })
  return [gateways, classWriter({ client, classes, log }), classStatusWriter({ client, classes, log })]
}
