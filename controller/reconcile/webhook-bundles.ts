import { isRecord } from '#base'
import { type Collection, type Custom, isStatus, type KubeClient, keyOf, kinds, workQueue } from '#kube'
import type { Logger } from '#telemetry'
import type { Writer } from './lead.ts'
import { type FailurePolicy, keepProving, type Pauses } from './webhook-proof.ts'

/** The configurations that name our webhook: Istio's own two. */
export const webhookNames = (namespace: string, revision: string): readonly string[] => [
  revision === 'default' ? `istio-validator-${namespace}` : `istio-validator-${revision}-${namespace}`,
  'istiod-default-validator',
]

type Options = Readonly<{
  client: KubeClient
  namespace: string
  revision: string
  configurations: Collection<Custom>
  /** The roots that our certificate can be checked with. */
  pem: () => string
  /** Tells when they are others. */
  onChange: (listener: () => void) => Disposable
  /** Fires when this process ends, and not when somebody else goes on. */
  ending: AbortSignal
  log: Logger
  pauseMs?: Pauses
}>

type Wanted = Readonly<{ namespace: string; pem: string; policy: FailurePolicy | undefined }>

/** The webhooks of a configuration as they should be, where they are ours; undefined when they are. */
export function bundledWebhooks(
  configuration: Custom,
  { namespace, pem, policy }: Wanted,
): readonly unknown[] | undefined {
  const webhooks = 'webhooks' in configuration ? configuration.webhooks : undefined
  if (!Array.isArray(webhooks)) return undefined
  const caBundle = Buffer.from(pem).toString('base64')
  let changed = false
  const bundled = webhooks.map((webhook: unknown): unknown => {
    const { clientConfig, failurePolicy } = isRecord(webhook) ? webhook : {}
    const { service, caBundle: held } = isRecord(clientConfig) ? clientConfig : {}
    const ours =
      isRecord(service) && service['namespace'] === namespace && String(service['name']).startsWith('istiod')
    if (!isRecord(webhook) || !isRecord(clientConfig) || !ours) return webhook
    if (held === caBundle && (policy === undefined || policy === failurePolicy)) return webhook
    changed = true
    return {
      ...webhook,
      clientConfig: { ...clientConfig, caBundle },
      ...(policy === undefined ? {} : { failurePolicy: policy }),
    }
  })
  return changed ? bundled : undefined
}

/**
 * Keeps our roots in the webhook's configurations, without which no API server believes us. What cannot be checked is
 * refused once the webhook has been seen at work (Istio: webhooks/validation/controller), and let through again when it is
 * not, or when this process ends: whoever is without a controller can still write.
 */
export const webhookBundleWriter = (o: Options): Writer => {
  const { client, namespace, configurations, pem, log } = o
  const ours = webhookNames(namespace, o.revision)
  const write = async (configuration: Custom, policy: FailurePolicy | undefined, signal: AbortSignal) => {
    const { name = '', resourceVersion } = configuration.metadata
    const webhooks = bundledWebhooks(configuration, { namespace, pem: pem(), policy })
    if (webhooks === undefined) return
    // The version makes the write fail if somebody changed the list since we looked.
    const patch = { metadata: { resourceVersion }, webhooks }
    await client
      .mergePatch({ kind: kinds.ValidatingWebhookConfiguration, name }, patch, { signal })
      .catch((error: unknown) => {
        if (!isStatus(error, 404)) throw error
      })
    log.info('webhook configuration written', { name, ...(policy ? { policy } : {}) })
  }
  /** As it is now: our own last write may not have been heard of yet. */
  const openUp = async (name: string, signal: AbortSignal) => {
    const found = await client.find({ kind: kinds.ValidatingWebhookConfiguration, name }, signal)
    if (found) await write(found, 'Ignore', signal)
  }
  return async (signal) => {
    let policy: FailurePolicy | undefined
    await using queue = workQueue({
      name: 'webhook bundles',
      signal,
      log,
      reconcile: async (name, stop) => {
        const configuration = configurations.get(name)
        if (configuration) await write(configuration, policy, stop)
      },
    })
    const all = () => {
      for (const name of ours) queue.add(name)
    }
    using _configurations = configurations.subscribe((changes) => {
      for (const { row } of changes) if (row && ours.includes(keyOf(row))) queue.add(keyOf(row))
    })
    using _pem = o.onChange(all)
    const isConfigured = () => ours.some((name) => isReachable(configurations.get(name), namespace, pem()))
    const onChange = (next: FailurePolicy) => {
      policy = next
      all()
    }
    await keepProving({ ...o, isConfigured, onChange }, signal)
    if (!o.ending.aborted || policy !== 'Fail') return
    const last = AbortSignal.timeout(lastWriteMs)
    await Promise.all(ours.map((name) => openUp(name, last).catch(() => undefined)))
  }
}

/** An end is not held up by an API server that does not answer. */
const lastWriteMs = 2_000

const isReachable = (configuration: Custom | undefined, namespace: string, pem: string): boolean =>
  configuration !== undefined &&
  bundledWebhooks(configuration, { namespace, pem, policy: undefined }) === undefined
