import type { Pod } from '#kube'
import { nameOf } from './inputs.ts'
import { labels } from './settings.ts'

/** A CronJob names its Jobs after itself and the scheduled minute. */
const cronSuffix = /^(.+)-\d{8,11}$/

/** What the pod is a replica of, as users know it (Istio: GetWorkloadMetaFromPod). */
export function workloadNameOf(pod: Pod): string {
  const named = pod.metadata.labels?.[labels.workloadName]
  if (named) return named
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller === true)
  if (!owner) return nameOf(pod)
  switch (owner.kind) {
    case 'ReplicaSet': {
      const hash = firstOf(pod, ['pod-template-hash', 'rollouts-pod-template-hash']) // Deployment, Argo Rollout
      return hash && owner.name.endsWith(`-${hash}`) ? owner.name.slice(0, -hash.length - 1) : owner.name
    }
    case 'Job':
      return cronSuffix.exec(owner.name)?.[1] ?? owner.name
    case 'ReplicationController': {
      const config = pod.metadata.labels?.['openshift.io/deployment-config.name']
      return config ?? owner.name
    }
    default:
      return owner.name
  }
}

const firstOf = (pod: Pod, keys: readonly string[]): string | undefined =>
  keys.map((key) => pod.metadata.labels?.[key]).find((value) => value !== undefined && value !== '')

export const canonicalNameOf = (pod: Pod, otherwise = workloadNameOf(pod)): string =>
  firstOf(pod, [labels.canonicalName, 'app.kubernetes.io/name', 'app']) ?? otherwise

export const canonicalRevisionOf = (pod: Pod): string =>
  firstOf(pod, [labels.canonicalRevision, 'app.kubernetes.io/version', 'version']) ?? 'latest'
