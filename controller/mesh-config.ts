import { parse } from 'yaml'
import { isRecord, messageOf } from '#base'
import type { ConfigMap } from '#kube'
import type { Logger } from '#telemetry'

/** What we take from the ConfigMap `istio`; everything else in it is for later releases. */
export type MeshConfig = Readonly<{ trustDomain: string; rootNamespace: string }>

const domain = /^[a-z0-9._-]{1,255}$/
const namespaceName = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/** Reads `mesh` of the ConfigMap; what is missing or unreadable is Istio's default, and the log says so. */
export function meshConfigFrom(map: ConfigMap | undefined, namespace: string, log: Logger): MeshConfig {
  const defaults = { trustDomain: 'cluster.local', rootNamespace: namespace }
  const text = map?.data?.['mesh']
  if (text === undefined) return defaults
  try {
    const mesh: unknown = parse(text) ?? {}
    if (!isRecord(mesh)) throw new TypeError('not a map')
    const read = (field: keyof MeshConfig, pattern: RegExp): string => {
      const value = mesh[field]
      if (value === undefined || value === '') return defaults[field]
      if (typeof value === 'string' && pattern.test(value)) return value
      log.error('a field of the ConfigMap istio cannot be read; using its default', { field, value })
      return defaults[field]
    }
    return { trustDomain: read('trustDomain', domain), rootNamespace: read('rootNamespace', namespaceName) }
  } catch (error) {
    log.error('the ConfigMap istio cannot be read; using defaults', { error: messageOf(error) })
    return defaults
  }
}
