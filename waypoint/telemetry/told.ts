import type { ServiceKey } from '#mesh'
import {
  type AccessLogSpec,
  type CelFacts,
  defaultAccessFields,
  defaultAccessText,
  parseWaypointTelemetry,
  type ScopeTelemetry,
  type WaypointTelemetry,
} from '#telemetry'
import type { Handler } from '#xds'
import type { AccessFacts } from './access-facts.ts'
import { type AccessLog, accessLog } from './access-log.ts'
import { type Variants, type VariantsOf, variantsOf } from './variants.ts'

/** Logs a request or connection to a service, as is to be logged of it now. False: nothing of that service is logged. */
export type RequestLog = (facts: AccessFacts, service: ServiceKey | undefined) => boolean

/** What is done for one scope. */
type Scope = Readonly<{ log: AccessLog; isLogged: boolean; variants: VariantsOf | undefined }>
type Known = Readonly<{ own: Scope; services: ReadonlyMap<string, Scope> }>

const nothing: Scope = { log: () => undefined, isLogged: false, variants: undefined }
const silent: Known = { own: nothing, services: new Map() }

/** What the control plane tells of logs and series. Before it has told anything nothing is logged (Istio). */
export class ToldTelemetry {
  readonly #write: (line: string) => void
  #name: string | undefined
  #known = silent
  #telemetry: WaypointTelemetry | undefined

  constructor(write: (line: string) => void) {
    this.#write = write
  }

  readonly log: RequestLog = (facts, service) => {
    const { log, isLogged } = this.#scope(service)
    log(facts)
    return isLogged
  }

  /** What is different of the series of a request or connection to a service. */
  readonly variants = (facts: () => CelFacts, service: ServiceKey | undefined): Variants | undefined =>
    this.#scope(service).variants?.(facts())

  #scope(service: ServiceKey | undefined): Scope {
    const { own, services } = this.#known
    return service === undefined ? own : (services.get(service) ?? own)
  }

  get told(): WaypointTelemetry | undefined {
    return this.#telemetry
  }

  /** xDS → telemetry. What cannot be read is rejected, and what counted before goes on counting. */
  get handler(): Handler {
    return {
      apply: (upserts, removed) => {
        if (this.#name !== undefined && removed.includes(this.#name)) this.#take(undefined, undefined)
        return upserts.flatMap(({ name, bytes }) => {
          const read = parseWaypointTelemetry(bytes)
          if (read.kind === 'unreadable') return [{ name, reason: read.problem }]
          this.#take(name, read.telemetry)
          return []
        })
      },
    }
  }

  #take(name: string | undefined, telemetry: WaypointTelemetry | undefined): void {
    this.#name = name
    this.#telemetry = telemetry
    if (!telemetry) {
      this.#known = silent
      return
    }
    const scopeOf = ({ logs, metrics }: ScopeTelemetry): Scope => ({
      log: accessLog(logs, this.#write),
      isLogged: logs.length > 0,
      variants: variantsOf(metrics),
    })
    const services = Object.entries(telemetry.services).map(
      ([service, scope]) => [service, scopeOf(scope)] as const,
    )
    this.#known = { own: scopeOf(telemetry), services: new Map(services) }
  }
}

const specs: Readonly<Record<'text' | 'json', AccessLogSpec['format']>> = {
  text: { kind: 'text', text: defaultAccessText },
  json: { kind: 'json', fields: defaultAccessFields },
}

/** The one log of a waypoint whose environment says what it is, whatever the control plane says. */
export function fixedLog(format: 'text' | 'json' | 'off', write: (line: string) => void): RequestLog {
  if (format === 'off') return () => false
  const log = accessLog([{ format: specs[format], omitsEmpty: false }], write)
  return (facts) => {
    log(facts)
    return true
  }
}
