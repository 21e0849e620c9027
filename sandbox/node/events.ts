import { randomBytes } from 'node:crypto'
import { messageOf } from '#base'
import { type KubeClient, kinds } from '#kube'
import type { Logger } from '#telemetry'
import type { NodePod } from './pod/pod.ts'

type EventType = 'Normal' | 'Warning'
/** Tells a pod's story in Events of its namespace. Never fails and never waits: an event that is lost is lost. */
export type TellEvent = (
  pod: NodePod,
  type: EventType,
  reason: string,
  message: string,
  container?: string,
) => void

/** The same sentence about the same pod is said at most this often. */
const repeatMs = 30_000
/** Sentences remembered; past it the memory starts anew. */
const maxRemembered = 1_000

/** Events of this node's agent. */
export function eventTeller(client: KubeClient, node: string, signal: AbortSignal, log: Logger): TellEvent {
  const said = new Map<string, number>()
  return (pod, type, reason, message, container) => {
    const key = `${pod.metadata.uid} ${reason} ${container ?? ''} ${message}`
    const now = Date.now()
    if (now - (said.get(key) ?? -Infinity) < repeatMs) return
    if (said.size >= maxRemembered) said.clear()
    said.set(key, now)
    const { name, namespace, uid } = pod.metadata
    const time = new Date(now).toISOString().replace(/\.\d+Z$/, 'Z')
    const body = {
      metadata: { name: `${name}.${randomBytes(8).toString('hex')}`, namespace },
      involvedObject: {
        apiVersion: 'v1',
        kind: 'Pod',
        name,
        namespace,
        uid,
        ...(container !== undefined && { fieldPath: `spec.containers{${container}}` }),
      },
      type,
      reason,
      message: message.slice(0, 1024),
      source: { component: 'kubelet', host: node },
      reportingComponent: 'kubelet',
      reportingInstance: node,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    }
    client.create(kinds.Event, body, { signal }).catch((error: unknown) => {
      if (!signal.aborted) log.debug('event lost', { reason, error: messageOf(error) })
    })
  }
}
