import type { AccessLogSpec, MetricName, MetricSpec, ScopeTelemetry } from '#telemetry'
import type { MeshTelemetry } from './mesh-logging.ts'
import type { LoggingEntry, TelemetryObject } from './object.ts'

/** What objects say together, from the mesh's to the most specific (Istio). */
export function scopeTelemetry(mesh: MeshTelemetry, levels: readonly TelemetryObject[]): ScopeTelemetry {
  return {
    logs: logsOf(
      mesh,
      levels.map(({ logging }) => logging),
    ),
    metrics: metricsOf(levels),
  }
}

type Entries = readonly LoggingEntry[]

/**
 * Istio's rule: the most specific level that names providers says which there are; of one provider the last word counts;
 * who names none means those named before. Without any word the mesh's file counts.
 */
function logsOf(mesh: MeshTelemetry, levels: readonly Entries[]): readonly AccessLogSpec[] {
  const saying = levels.filter((entries) => entries.length > 0)
  if (saying.length === 0 && mesh.defaultLoggers.length === 0) return mesh.plain ? [mesh.plain] : []
  const named = saying.map((entries) => entries.flatMap(({ providers }) => providers))
  const inScope = new Set(named.findLast((names) => names.length > 0) ?? mesh.defaultLoggers)
  const filters = new Map<string, string | undefined>()
  if (saying.length === 0) for (const name of inScope) filters.set(name, undefined)
  let before = mesh.defaultLoggers
  for (const { providers, disabled, filter } of saying.flat()) {
    before = providers.length > 0 ? providers : before
    for (const name of before.filter((one) => inScope.has(one))) {
      if (disabled) filters.delete(name)
      else filters.set(name, filter)
    }
  }
  return [...filters].flatMap(([name, filter]) => {
    const logger = mesh.loggers.get(name)
    return logger ? [{ ...logger, ...(filter === undefined ? {} : { filter }) }] : []
  })
}

function metricsOf(levels: readonly TelemetryObject[]): ScopeTelemetry['metrics'] {
  const made = new Map<MetricName, MetricSpec>()
  for (const { metrics, disabled, labels } of levels.flatMap((level) => level.metrics))
    for (const metric of metrics) {
      const known = made.get(metric) ?? { disabled: false, labels: {} }
      made.set(metric, { disabled: disabled ?? known.disabled, labels: { ...known.labels, ...labels } })
    }
  const isSaid = ({ disabled, labels }: MetricSpec) => disabled || Object.keys(labels).length > 0
  return Object.fromEntries([...made].filter(([, spec]) => isSaid(spec)))
}
