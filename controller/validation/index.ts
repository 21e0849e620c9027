import { authorizationPolicy, peerAuthentication } from './authorization-policy.ts'
import { type Check, newNotes } from './check.ts'
import { destinationRule } from './destination-rule.ts'
import { envoyFilter } from './envoy-filter.ts'
import { trafficExtension, wasmPlugin } from './extensions.ts'
import { gateway } from './gateway.ts'
import { proxyConfig } from './proxy-config.ts'
import { requestAuthentication } from './request-authentication.ts'
import { serviceEntry, workloadEntry } from './service-entry.ts'
import { sidecar } from './sidecar.ts'
import { telemetry } from './telemetry.ts'
import { virtualService } from './virtual-service.ts'
import { workloadGroup } from './workload-group.ts'

/** `path: sentence` each. Errors cannot work; warnings are stored and do not do what one may think. */
export type Findings = Readonly<{ errors: readonly string[]; warnings: readonly string[] }>

const specs: ReadonlyMap<string, Check> = new Map([
  ['networking.istio.io/VirtualService', virtualService],
  ['networking.istio.io/DestinationRule', destinationRule],
  ['networking.istio.io/Gateway', gateway],
  ['networking.istio.io/Sidecar', sidecar],
  ['networking.istio.io/EnvoyFilter', envoyFilter],
  ['networking.istio.io/ProxyConfig', proxyConfig],
  ['networking.istio.io/WorkloadGroup', workloadGroup],
  ['networking.istio.io/ServiceEntry', serviceEntry],
  ['networking.istio.io/WorkloadEntry', workloadEntry],
  ['security.istio.io/AuthorizationPolicy', authorizationPolicy],
  ['security.istio.io/PeerAuthentication', peerAuthentication],
  ['security.istio.io/RequestAuthentication', requestAuthentication],
  ['telemetry.istio.io/Telemetry', telemetry],
  ['extensions.istio.io/WasmPlugin', wasmPlugin],
  ['extensions.istio.io/TrafficExtension', trafficExtension],
])

/** The kinds that are read, as `group/Kind`. */
export const validatedKinds: readonly string[] = [...specs.keys()]

/** What is wrong with a spec of one of Istio's kinds; undefined: a kind that is not read here. */
export function validateSpec(group: string, kind: string, spec: unknown): Findings | undefined {
  const check = specs.get(`${group}/${kind}`)
  if (check === undefined) return undefined
  const notes = newNotes()
  check(spec ?? {}, { path: 'spec', notes })
  return { errors: notes.errors, warnings: notes.warnings }
}

const placeOf = (sentence: string): string => sentence.slice(0, Math.max(0, sentence.indexOf(': ')))

/** Of what one reader found, that which is about no place that another one has named, nor about one within or around it. */
export function untold(found: readonly string[], told: readonly string[]): readonly string[] {
  const isWithin = (inner: string, outer: string) =>
    inner === outer || inner.startsWith(`${outer}.`) || inner.startsWith(`${outer}[`)
  const places = told.map(placeOf).filter((place) => place !== 'spec')
  return found.filter((sentence) => {
    const own = placeOf(sentence)
    return !places.some((place) => isWithin(own, place) || isWithin(place, own))
  })
}

/** What two readers of one object found: what both say of one place is said once, in the words of the first. */
export function merged(first: Findings | undefined, second: Findings | undefined): Findings | undefined {
  if (first === undefined || second === undefined) return first ?? second
  const join = (a: readonly string[], b: readonly string[]) => {
    const places = new Set(a.map(placeOf))
    return [...a, ...b.filter((sentence) => !places.has(placeOf(sentence)))]
  }
  return { errors: join(first.errors, second.errors), warnings: join(first.warnings, second.warnings) }
}
