import { type KubeClient, kinds, reflect } from '#kube'
import { silent } from '#telemetry'
import { classStatusWriter, classWriter, gatewayWriter } from '../../../controller/gateways/index.ts'
import { lead } from '../../../controller/reconcile/index.ts'
import { renderOptions } from './gateway-kit.ts'

/** The writers of Gateways, as the leader runs them. */
export async function startWriters(client: KubeClient): Promise<AsyncDisposable> {
  const stop = new AbortController()
  const { signal } = stop
  const all = { signal, log: silent }
  const managed = { ...all, labelSelector: 'gateway.istio.io/managed=istio.io-mesh-controller' }
  const inputs = {
    gateways: reflect(client, kinds.Gateway, all),
    classes: reflect(client, kinds.GatewayClass, all),
    namespaces: reflect(client, kinds.Namespace, all),
    services: reflect(client, kinds.Service, all),
    slices: reflect(client, kinds.EndpointSlice, all),
    deployments: reflect(client, kinds.Deployment, managed),
    accounts: reflect(client, kinds.ServiceAccount, managed),
  }
  await Promise.all(Object.values(inputs).map(({ synced }) => synced))
  const { network: _, ...render } = renderOptions
  const own = { client, namespace: 'istio-system', rootNamespace: 'istio-system', render, log: silent }
  const { classes } = inputs
  const writers = [
    gatewayWriter({ ...own, ...inputs }),
    classWriter({ ...own, classes }),
    classStatusWriter({ ...own, classes }),
  ]
  const done = lead(writers, signal)
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await done
    },
  }
}
