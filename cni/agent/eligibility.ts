import type { Namespace, Pod } from '#kube'
import type { PodRules } from '../rules/index.ts'

/** Labels and annotations, all of them Istio's. */
export const names = {
  mode: 'istio.io/dataplane-mode',
  sidecar: 'sidecar.istio.io/status',
  redirection: 'ambient.istio.io/redirection',
  bypassInbound: 'ambient.istio.io/bypass-inbound-capture',
  dnsCapture: 'ambient.istio.io/dns-capture',
  virtualInterfaces: 'istio.io/reroute-virtual-interfaces',
} as const

export type Wish = Omit<PodRules, 'phase'>
/** Should this pod be in the mesh, and why (not). */
export type Eligibility =
  | Readonly<{
      verdict: 'enrol'
      by: 'pod label' | 'namespace label'
      wish: Wish
      warnings: readonly string[]
    }>
  | Readonly<{ verdict: 'leave'; by: Reason }>
  /** Its network is gone or about to be: nothing is to be programmed any more. */
  | Readonly<{ verdict: 'gone'; by: 'finished' }>
type Reason = 'host network' | 'excluded namespace' | 'sidecar' | 'pod label' | 'no label'

export type Defaults = Readonly<{ excludedNamespaces: readonly string[]; ipv6: boolean; dnsCapture: boolean }>

/** Istio's rules of enrolment (cni/pkg/util): exclusions first, then the pod's own label, then its namespace's. */
export function decideEligibility(
  pod: Pod,
  namespace: Namespace | undefined,
  defaults: Defaults,
): Eligibility {
  const { metadata, spec, status } = pod
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return { verdict: 'gone', by: 'finished' }
  if (spec?.hostNetwork === true) return { verdict: 'leave', by: 'host network' }
  if (defaults.excludedNamespaces.includes(metadata.namespace ?? ''))
    return { verdict: 'leave', by: 'excluded namespace' }
  if (metadata.annotations?.[names.sidecar] !== undefined) return { verdict: 'leave', by: 'sidecar' }
  const own = metadata.labels?.[names.mode]
  if (own === 'none') return { verdict: 'leave', by: 'pod label' }
  if (own === 'ambient') return { verdict: 'enrol', by: 'pod label', ...wishOf(pod, defaults) }
  if (namespace?.metadata.labels?.[names.mode] === 'ambient')
    return { verdict: 'enrol', by: 'namespace label', ...wishOf(pod, defaults) }
  return { verdict: 'leave', by: 'no label' }
}

function wishOf(pod: Pod, { ipv6, dnsCapture }: Defaults): { wish: Wish; warnings: readonly string[] } {
  const warnings: string[] = []
  const flag = (name: string) => {
    const text = pod.metadata.annotations?.[name]
    if (text === undefined) return undefined
    const value = parseBool(text)
    if (value === undefined)
      warnings.push(`annotation ${name} is ignored: ${JSON.stringify(text)} is no boolean`)
    return value
  }
  const interfaces = (pod.metadata.annotations?.[names.virtualInterfaces] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  const bad = interfaces.filter((name) => !isInterfaceName(name))
  if (bad.length > 0)
    warnings.push(`annotation ${names.virtualInterfaces}: no interface names: ${JSON.stringify(bad)}`)
  return {
    wish: {
      ipv6,
      dnsCapture: flag(names.dnsCapture) ?? dnsCapture,
      ingressMode: flag(names.bypassInbound) ?? false,
      virtualInterfaces: interfaces.filter(isInterfaceName).slice(0, maxInterfaces),
    },
    warnings,
  }
}

/** Rules per interface; more is somebody's mistake. */
const maxInterfaces = 16
/** The text goes into rule files, so the shape is narrow: what the kernel allows, minus anything with a meaning there. */
const isInterfaceName = (name: string): boolean => /^[A-Za-z0-9][\w.-]{0,14}$/.test(name)

/** Go's strconv.ParseBool, which Istio reads these with. */
export function parseBool(text: string): boolean | undefined {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false
  return undefined
}
