import { parse } from 'yaml'
import { isRecord, messageOf } from '#base'
import type { ConfigMap } from '#kube'
import type { Logger } from '#telemetry'

/** What we take from the ConfigMap `istio`; everything else in it is for later releases. */
export type MeshConfig = Readonly<{ trustDomain: string; rootNamespace: string }>

const domain = /^[a-z0-9._-]{1,255}$/

/** Reads `mesh` of the ConfigMap; what is missing or unreadable is Istio's default, and the log says so. */
export function meshConfigFrom(map: ConfigMap | undefined, namespace: string, log: Logger): MeshConfig {
  const defaults = { trustDomain: 'cluster.local', rootNamespace: namespace }
  const text = map?.data?.['mesh']
  if (text === undefined) return defaults
  try {
    const mesh: unknown = parse(text)
    if (!isRecord(mesh)) return defaults
    const { trustDomain, rootNamespace } = mesh
    return {
      trustDomain:
        typeof trustDomain === 'string' && domain.test(trustDomain) ? trustDomain : defaults.trustDomain,
      rootNamespace: typeof rootNamespace === 'string' && rootNamespace !== '' ? rootNamespace : namespace,
    }
  } catch (error) {
    log.error('the ConfigMap istio cannot be read; using defaults', { error: messageOf(error) })
    return defaults
  }
}
