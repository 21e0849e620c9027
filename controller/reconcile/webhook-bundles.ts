import { isRecord } from '#base'
import { type Collection, type Custom, isStatus, type KubeClient, keyOf, kinds, workQueue } from '#kube'
import type { Logger } from '#telemetry'
import type { Writer } from './lead.ts'

/** The configurations that name our webhook: Istio's own two. */
export const webhookNames = (namespace: string): readonly string[] => [
  `istio-validator-${namespace}`,
  'istiod-default-validator',
]

type Options = Readonly<{
  client: KubeClient
  namespace: string
  configurations: Collection<Custom>
  /** The roots that our certificate can be checked with. */
  pem: () => string
  /** Tells when they are others. */
  onChange: (listener: () => void) => Disposable
  log: Logger
}>

/** The webhooks of a configuration with the bundle in those that are ours; undefined when it is there already. */
export function bundledWebhooks(
  configuration: Custom,
  namespace: string,
  pem: string,
): readonly unknown[] | undefined {
  const webhooks = 'webhooks' in configuration ? configuration.webhooks : undefined
  if (!Array.isArray(webhooks)) return undefined
  const caBundle = Buffer.from(pem).toString('base64')
  let changed = false
  const bundled = webhooks.map((webhook: unknown): unknown => {
    const { clientConfig } = isRecord(webhook) ? webhook : {}
    const { service, caBundle: held } = isRecord(clientConfig) ? clientConfig : {}
    const ours =
      isRecord(service) && service['namespace'] === namespace && String(service['name']).startsWith('istiod')
    if (!isRecord(webhook) || !isRecord(clientConfig) || !ours || held === caBundle) return webhook
    changed = true
    return { ...webhook, clientConfig: { ...clientConfig, caBundle } }
  })
  return changed ? bundled : undefined
}

/** Keeps our roots in the webhook's configurations: without them no API server believes us. */
export const webhookBundleWriter =
  ({ client, namespace, configurations, pem, onChange, log }: Options): Writer =>
  async (signal) => {
    const ours = webhookNames(namespace)
    await using queue = workQueue({
      name: 'webhook bundles',
      signal,
      log,
      reconcile: async (name, stop) => {
        const configuration = configurations.get(name)
        const webhooks = configuration && bundledWebhooks(configuration, namespace, pem())
        if (webhooks === undefined) return
        const { resourceVersion } = configuration?.metadata ?? {}
        // The version makes the write fail if somebody changed the list since we looked.
        const patch = { metadata: { resourceVersion }, webhooks }
        await client
          .mergePatch({ kind: kinds.ValidatingWebhookConfiguration, name }, patch, { signal: stop })
          .catch((error: unknown) => {
            if (!isStatus(error, 404)) throw error
          })
        log.info('webhook bundle written', { name })
      },
    })
    using _configurations = configurations.subscribe((changes) => {
      for (const { row } of changes) if (row && ours.includes(keyOf(row))) queue.add(keyOf(row))
    })
    using _pem = onChange(() => {
      for (const name of ours) queue.add(name)
    })
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  }
