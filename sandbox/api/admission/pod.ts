import { isRecord } from '#base'
import { at, type KubeObject, listAt, recordAt, scalarAt, textAt } from '../rest/object.ts'
import { changeEach, type Fields, fill } from './fields.ts'

const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount'
/** An hour and seven seconds: the marker by which Kubernetes knows its own default token. */
const expirationSeconds = 3607

/** Pure: what the ServiceAccount admission does to a new pod. `suffix` makes the volume's name unique. */
export function admitServiceAccount(pod: KubeObject, account: KubeObject, suffix: string): KubeObject {
  const name = account.metadata.name ?? ''
  const spec = fill(recordAt(pod, 'spec'), { serviceAccountName: name, serviceAccount: name })
  const automount = spec['automountServiceAccountToken'] ?? account['automountServiceAccountToken'] ?? true
  if (automount === false) return { ...pod, spec }
  return { ...pod, spec: mountToken(spec, `kube-api-access-${suffix}`) }
}

function mountToken(spec: Fields, volume: string): Fields {
  const mounts = (container: unknown) => listAt(container, 'volumeMounts')
  const lacks = (container: Fields) =>
    !mounts(container).some((mount) => textAt(mount, 'mountPath') === mountPath)
  const mounted = (container: Fields) =>
    lacks(container)
      ? { ...container, volumeMounts: [...mounts(container), { name: volume, readOnly: true, mountPath }] }
      : container
  const containers = [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')].filter(isRecord)
  if (!containers.some(lacks)) return spec
  const withMounts = changeEach(changeEach(spec, 'containers', mounted), 'initContainers', mounted)
  return { ...withMounts, volumes: [...listAt(spec, 'volumes'), tokenVolume(volume)] }
}

const tokenVolume = (name: string): Fields => ({
  name,
  projected: {
    defaultMode: 0o644,
    sources: [
      { serviceAccountToken: { expirationSeconds, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      {
        downwardAPI: {
          items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
        },
      },
    ],
  },
})

/** The status that a new pod starts with. */
export const initialPodStatus = (pod: KubeObject): Fields => ({ phase: 'Pending', qosClass: qosClass(pod) })

/** Guaranteed: every container limits cpu and memory and requests as much; BestEffort: none says anything. */
function qosClass(pod: KubeObject): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const containers = [...listAt(pod, 'spec', 'containers'), ...listAt(pod, 'spec', 'initContainers')]
  const resources = containers.map((container) => at(container, 'resources'))
  const none = resources.every(
    (r) => Object.keys(recordAt(r, 'limits')).length + Object.keys(recordAt(r, 'requests')).length === 0,
  )
  if (none) return 'BestEffort'
  const guaranteed = resources.every((r) =>
    ['cpu', 'memory'].every((unit) => {
      const limit = scalarAt(r, 'limits', unit)
      return limit !== '' && (scalarAt(r, 'requests', unit) || limit) === limit
    }),
  )
  return guaranteed ? 'Guaranteed' : 'Burstable'
}
