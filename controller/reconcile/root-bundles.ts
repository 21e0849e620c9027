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

/** A ConfigMap that every namespace has, and its one key. */
export type Bundle = Readonly<{ name: string; key: string }>

/** The roots of the mesh, which every proxy reads. */
export const rootBundle: Bundle = { name: 'istio-ca-root-cert', key: 'root-cert.pem' }
/** Revocation lists, which ztunnel reads at CRL_PATH. */
export const crlBundle: Bundle = { name: 'istio-ca-crl', key: 'ca-crl.pem' }
/** Of no use in these, says Istio, and writing there annoys some distributions. */
const excluded = ['kube-public', 'kube-node-lease', 'local-path-storage']

type RootBundleOptions = Readonly<{
  client: KubeClient
  namespaces: Collection<Namespace>
  bundle: Bundle
  /** Those of its name. */
  bundles: Collection<ConfigMap>
  /** What shall be in it; undefined leaves alone whatever is there. */
  pem: () => string | undefined
  /** Tells when that is another. */
  onChange: (listener: () => void) => Disposable
  log: Logger
}>

/** What to do about the bundle of one namespace. */
type BundleStep = 'none' | 'create' | 'repair'

/** What to do about a namespace's copy of a bundle. */
export function bundleStep(
  namespace: Namespace | undefined,
  bundle: ConfigMap | undefined,
  key: string,
  pem: string | undefined,
): BundleStep {
  if (pem === undefined) return 'none'
  if (!namespace || namespace.metadata.deletionTimestamp !== undefined) return 'none'
  if (namespace.status?.phase === 'Terminating' || excluded.includes(namespace.metadata.name ?? ''))
    return 'none'
  if (!bundle) return 'create'
  return bundle.data?.[key] === pem ? 'none' : 'repair'
}

/** Keeps a bundle in every namespace, and puts it right when somebody changes it. */
export const bundleWriter =
  ({ client, namespaces, bundle: { name, key }, bundles, pem, onChange, log }: RootBundleOptions): Writer =>
  async (signal) => {
    await using queue = workQueue({
      name,
      signal,
      log,
      concurrency: 4,
      reconcile: (namespace, stop) => write(namespace, stop),
    })
    const write = async (namespace: string, stop: AbortSignal) => {
      const wanted = pem()
      const step = bundleStep(namespaces.get(namespace), bundles.get(`${namespace}/${name}`), key, wanted)
      if (step === 'none' || wanted === undefined) return
      const labels = { 'istio.io/config': 'true' }
      const data = { [key]: wanted }
      const ref = { kind: kinds.ConfigMap, namespace, name }
      try {
        if (step === 'repair') await client.mergePatch(ref, { metadata: { labels }, data }, { signal: stop })
        else
          await client.create(
            kinds.ConfigMap,
            { metadata: { namespace, name, labels }, data },
            { signal: stop },
          )
        log.debug('bundle written', { name, namespace, step })
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
    using _pem = onChange(() => {
      for (const { metadata } of namespaces.list()) queue.add(metadata.name ?? '')
    })
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  }
