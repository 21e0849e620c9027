import type { KubeObject } from '#kube'

export const resourceOf = ({ kind = '', metadata: { namespace, name = '' } }: KubeObject): string =>
  `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`
