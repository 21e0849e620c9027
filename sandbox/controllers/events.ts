import { isRecord } from '#base'
import { type Custom, isStatus, type KubeClient, kinds, type KubeObject } from '#kube'
import type { Action } from './actions.ts'
import { contentHash } from './pod-state.ts'

const source = 'lateen-sandbox-controllers'

/** Writes an event; the same thing said again counts up. Rejects with KubeError. */
export async function writeEvent(
  client: KubeClient,
  { about, type, reason, message }: Extract<Action, { kind: 'event' }>,
  now: Date,
  signal: AbortSignal,
): Promise<void> {
  const { name = '', namespace = 'default', uid = '' } = about.metadata
  const time = now.toISOString().replace(/\.\d+Z$/, 'Z')
  const event: Custom & Record<string, unknown> = {
    metadata: { name: `${name.slice(0, 200)}.${contentHash([uid, type, reason, message], 12)}`, namespace },
    involvedObject: reference(about),
    type,
    reason,
    message,
    source: { component: source },
    reportingComponent: source,
    firstTimestamp: time,
    lastTimestamp: time,
    count: 1,
  }
  try {
    await client.create(kinds.Event, event, { signal })
  } catch (error) {
    if (!isStatus(error, 409)) throw error
    const ref = { kind: kinds.Event, name: event.metadata.name ?? '', namespace }
    const before: unknown = await client.find(ref, signal)
    const count = isRecord(before) && typeof before['count'] === 'number' ? before['count'] : 0
    if (before) await client.mergePatch(ref, { count: count + 1, lastTimestamp: time }, { signal })
  }
}

const reference = ({ apiVersion, kind, metadata }: KubeObject) => ({
  apiVersion,
  kind,
  name: metadata.name,
  ...(metadata.namespace !== undefined && { namespace: metadata.namespace }),
  ...(metadata.uid !== undefined && { uid: metadata.uid }),
  ...(metadata.resourceVersion !== undefined && { resourceVersion: metadata.resourceVersion }),
})
