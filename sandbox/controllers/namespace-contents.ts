import { type ConfigMap, type KubeObject, kinds, type Namespace } from '#kube'
import { type Action, refTo } from './actions.ts'

/** ConfigMap that tells every pod the API server's root. */
export const rootConfigMap = 'kube-root-ca.crt'

/** What every live namespace has: the service account `default`, and the API server's root certificate. */
export function namespacePlan(
  { metadata, status }: Namespace,
  account: KubeObject | undefined,
  root: ConfigMap | undefined,
  rootPem: string,
): readonly Action[] {
  if (metadata.deletionTimestamp !== undefined || status?.phase === 'Terminating') return []
  const { name: namespace = '' } = metadata
  const data = { 'ca.crt': rootPem }
  const wanted: ConfigMap = {
    metadata: {
      name: rootConfigMap,
      namespace,
      annotations: {
        'kubernetes.io/description':
          'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc.',
      },
    },
    data,
  }
  return [
    ...(account
      ? []
      : [
          {
            kind: 'create',
            of: kinds.ServiceAccount,
            object: { metadata: { name: 'default', namespace } },
          } as const,
        ]),
    ...(root ? [] : [{ kind: 'create', of: kinds.ConfigMap, object: wanted } as const]),
    ...(root && root.data?.['ca.crt'] !== rootPem
      ? [{ kind: 'patch', ref: refTo(kinds.ConfigMap, root), patch: { data } } as const]
      : []),
  ]
}
