import { isRecord, MeshError } from '#base'
import { type ConfigMap, type KubeClient, kinds, pathOf, reflect, type Secret } from '#kube'
import type { Logger } from '#telemetry'
import type { NodePod } from '../pod/pod.ts'
import type { Contentful, Contents } from './payload.ts'

/** A token is renewed after this part of its life, and at the latest after a day, as the kubelet has it. */
const renewAfter = 0.8
const maxAgeMs = 24 * 3600_000

type Options = Readonly<{ client: KubeClient; signal: AbortSignal; log: Logger; now?: () => number }>
type Held = Readonly<{ token: string; renewAt: number }>

/** ConfigMaps, Secrets and tokens as the API server has them. Objects are watched, so asking often costs nothing. */
export function clusterContents({ client, signal, log, now = Date.now }: Options): Contentful & {
  /** Drops the tokens of a pod that is gone. */
  forget(podUid: string): void
} {
  const configMaps = reflect(client, kinds.ConfigMap, { signal, log })
  const secrets = reflect(client, kinds.Secret, { signal, log })
  const tokens = new Map<string, Map<string, Held>>()
  return {
    async configMap(namespace, name) {
      const ref = { kind: kinds.ConfigMap, namespace, name }
      return contentsOf(configMaps.get(`${namespace}/${name}`) ?? (await client.find(ref, signal)), 'utf8')
    },
    async secret(namespace, name) {
      const ref = { kind: kinds.Secret, namespace, name }
      return contentsOf(secrets.get(`${namespace}/${name}`) ?? (await client.find(ref, signal)), 'base64')
    },
    async token(pod, { audience, expirationSeconds }) {
      const { uid } = pod.metadata
      const ofPod = tokens.get(uid) ?? new Map<string, Held>()
      tokens.set(uid, ofPod)
      const key = `${audience ?? ''} ${expirationSeconds}`
      const held = ofPod.get(key)
      if (held && now() < held.renewAt) return held.token
      try {
        const fresh = await requestToken(client, pod, audience, expirationSeconds, now(), signal)
        ofPod.set(key, fresh)
        return fresh.token
      } catch (error) {
        // The old one is good for a while yet; the next look asks again.
        if (held) return held.token
        throw error
      }
    },
    forget: (podUid) => void tokens.delete(podUid),
  }
}

function contentsOf(object: ConfigMap | Secret | undefined, encoding: 'utf8' | 'base64'): Contents {
  if (!object) return undefined
  const entries = Object.entries(object.data ?? {}).map(
    ([key, text]) => [key, Buffer.from(text, encoding)] as const,
  )
  const binary =
    'binaryData' in object && isRecord(object.binaryData) ? Object.entries(object.binaryData) : []
  return new Map([
    ...entries,
    ...binary.map(([key, text]) => [key, Buffer.from(String(text), 'base64')] as const),
  ])
}

async function requestToken(
  client: KubeClient,
  { metadata, spec }: NodePod,
  audience: string | undefined,
  expirationSeconds: number,
  now: number,
  signal: AbortSignal,
): Promise<Held> {
  const at = { namespace: metadata.namespace, name: spec.serviceAccountName, subresource: 'token' }
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {
      ...(audience !== undefined && { audiences: [audience] }),
      expirationSeconds,
      boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: metadata.name, uid: metadata.uid },
    },
  }
  const answer = await client.request('POST', pathOf(kinds.ServiceAccount, at), body, { signal })
  const status = isRecord(answer) && isRecord(answer['status']) ? answer['status'] : {}
  const { token, expirationTimestamp } = status
  if (typeof token !== 'string' || typeof expirationTimestamp !== 'string')
    throw new MeshError('unavailable', { message: 'TokenRequest was answered without a token' })
  const lifeMs = Date.parse(expirationTimestamp) - now
  return { token, renewAt: now + Math.min(lifeMs * renewAfter, maxAgeMs) }
}
