import { type Collection, type ConfigMap, type KubeClient, kinds, type Namespace, reflect } from '#kube'
import type { Logger } from '#telemetry'
import { type LiveAuthority, rootRenewer } from './ca/index.ts'
import { type Bundle, bundleWriter, crlBundle, rootBundle, type Writer } from './reconcile/index.ts'

type CaWriterOptions = Readonly<{
  client: KubeClient
  /** Our own, where the CA's Secret is. */
  namespace: string
  namespaces: Collection<Namespace>
  authority: LiveAuthority
  signal: AbortSignal
  log: Logger
}>

/** What the leader writes about the CA: roots and revocation lists for everybody, and its own root before that ends. */
export function caWriters(
  o: CaWriterOptions,
): Readonly<{ writers: readonly Writer[]; synced: Promise<void> }> {
  const { client, authority, signal, log } = o
  const named = (name: string) =>
    reflect(client, kinds.ConfigMap, { signal, log, fieldSelector: `metadata.name=${name}` })
  const kept = (bundle: Bundle, bundles: Collection<ConfigMap>, pem: () => string | undefined) =>
    bundleWriter({ ...o, bundle, bundles, pem, onChange: authority.onChange })
  const [roots, lists] = [named(rootBundle.name), named(crlBundle.name)]
  return {
    writers: [
      kept(rootBundle, roots, () => authority.current().rootPem),
      kept(crlBundle, lists, () => authority.current().crlPem),
      rootRenewer(o),
    ],
    synced: Promise.all([roots.synced, lists.synced]).then(() => undefined),
  }
}
