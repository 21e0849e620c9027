import {
  type Collection,
  type ConfigMap,
  isStatus,
  type KubeClient,
  kinds,
  type Namespace,
  workQueue,
} from '#kube'
import type { Logger } from '#telemetry'
import type { Writer } from './lead.ts'

export const bundleName = 'istio-ca-root-cert'
const bundleKey = 'root-cert.pem'
/** Of no use in these, says Istio, and writing there annoys some distributions. */
const excluded = ['kube-public', 'kube-node-lease', 'local-path-storage']

export type RootBundleOptions = Readonly<{
  client: KubeClient
  namespaces: Collection<Namespace>
  /** Those named `istio-ca-root-cert`. */
  bundles: Collection<ConfigMap>
  rootPem: () => string
  log: Logger
}>

/** What to do about the bundle of one namespace. */
export type BundleStep = 'none' | 'create' | 'repair'

export function bundleStep(
  namespace: Namespace | undefined,
  bundle: ConfigMap | undefined,
  rootPem: string,
): BundleStep {
  if (!namespace || namespace.metadata.deletionTimestamp !== undefined) return 'none'
  if (namespace.status?.phase === 'Terminating' || excluded.includes(namespace.metadata.name ?? ''))
    return 'none'
  if (!bundle) return 'create'
  return bundle.data?.[bundleKey] === rootPem ? 'none' : 'repair'
}

/** Keeps the root bundle in every namespace, and puts it right when somebody changes it. */
export const rootBundleWriter =
  ({ client, namespaces, bundles, rootPem, log }: RootBundleOptions): Writer =>
  async (signal) => {
    await using queue = workQueue({
      name: 'root bundles',
      signal,
      log,
      concurrency: 4,
      reconcile: (namespace, stop) => write(namespace, stop),
    })
    const write = async (namespace: string, stop: AbortSignal) => {
      const step = bundleStep(namespaces.get(namespace), bundles.get(`${namespace}/${bundleName}`), rootPem())
      if (step === 'none') return
      const labels = { 'istio.io/config': 'true' }
      const data = { [bundleKey]: rootPem() }
      const ref = { kind: kinds.ConfigMap, namespace, name: bundleName }
      try {
        if (step === 'repair') await client.mergePatch(ref, { metadata: { labels }, data }, { signal: stop })
        else
          await client.create(
            kinds.ConfigMap,
            { metadata: { namespace, name: bundleName, labels }, data },
            { signal: stop },
          )
        log.debug('root bundle written', { namespace, step })
      } catch (error) {
        if (isStatus(error, 404) || isStatus(error, 409)) return // the watch tells what is there now
        // 403 while the namespace is being deleted: it will be gone.
        if (isStatus(error, 403) && error.message.includes('being terminated')) return
        throw error
      }
    }
    using _namespaces = namespaces.subscribe((changes) => {
      for (const { key, row } of changes) if (row !== undefined) queue.add(key)
    })
    using _bundles = bundles.subscribe((changes) => {
      for (const { key } of changes) queue.add(key.split('/')[0] ?? '')
    })
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  }
