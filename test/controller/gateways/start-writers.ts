import { type KubeClient, kinds, reflect } from '#kube'
import { silent } from '#telemetry'
import { classWriters, gatewayWriters } from '../../../controller/gateway-writers.ts'
import type { ClassOptions } from '../../../controller/gateways/index.ts'
import { lead } from '../../../controller/reconcile/index.ts'
import { classOptions, renderOptions } from './gateway-kit.ts'

/** The writers of Gateways, as the leader runs them. */
export async function startWriters(
  client: KubeClient,
  {
    classes = classOptions,
    image = renderOptions.image,
  }: Readonly<{ classes?: ClassOptions; image?: string }> = {},
): Promise<AsyncDisposable> {
  const stop = new AbortController()
  const { signal } = stop
  const all = { signal, log: silent }
  const inputs = {
    gateways: reflect(client, kinds.Gateway, all),
    gatewayClasses: reflect(client, kinds.GatewayClass, all),
    namespaces: reflect(client, kinds.Namespace, all),
    services: reflect(client, kinds.Service, all),
    slices: reflect(client, kinds.EndpointSlice, all),
  }
  const optional = { ...all, optional: true }
  const objects = {
    httpRoutes: reflect(client, kinds.HTTPRoute, optional),
    grpcRoutes: reflect(client, kinds.GRPCRoute, optional),
    tlsRoutes: reflect(client, kinds.TLSRoute, optional),
    tcpRoutes: reflect(client, kinds.TCPRoute, optional),
  }
  await Promise.all(Object.values({ ...inputs, ...objects }).map(({ synced }) => synced))
  const { network: _, ...render } = renderOptions
  const gateway = { rootNamespace: 'istio-system', classes, render: { ...render, image } }
  const options = {
    ...all,
    client,
    namespace: 'istio-system',
    gateway,
    inputs,
    routes: { objects },
  }
  const done = lead([...gatewayWriters(options), ...classWriters(options)], signal)
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await done
    },
  }
}
