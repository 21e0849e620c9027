import { isRecord } from '#base'
import type { Custom } from '#kube'
import { compilePolicy } from './authorization-policy.ts'
import { namespaceOf } from './inputs.ts'
import { readPeerMode } from './peer-authentication.ts'
import { shown } from './problems.ts'
import { readServiceEntry } from './service-entry.ts'
import type { Settings } from './settings.ts'
import { readEndpoint } from './workload-entry.ts'

/** What is wrong with an object that somebody wants to write: `path: sentence` each. Errors cannot work; warnings may. */
type Validation = Readonly<{ errors: readonly string[]; warnings: readonly string[] }>

type Check = (object: Custom, settings: Settings) => Validation

/** By `group/Kind`: the kinds that we read. */
const checks: ReadonlyMap<string, Check> = new Map([
  ['security.istio.io/AuthorizationPolicy', authorizationPolicy],
  ['security.istio.io/PeerAuthentication', peerAuthentication],
  ['networking.istio.io/ServiceEntry', serviceEntry],
  ['networking.istio.io/WorkloadEntry', (object) => workloadEntry(object.spec, 'spec')],
  ['networking.istio.io/WorkloadGroup', workloadGroup],
])

/** Reads an object as the collections would; what they would leave out, close or refuse is an error. */
export function validate(
  group: string,
  kind: string,
  object: Custom,
  settings: Settings,
): Validation | undefined {
  return checks.get(`${group}/${kind}`)?.(object, settings)
}

function authorizationPolicy(object: Custom, settings: Settings): Validation {
  const { invalid, condition } = compilePolicy(object, settings)
  const said =
    invalid.length === 0 && condition?.reason === 'UnsupportedValue' ? [condition.message ?? ''] : []
  return { errors: invalid, warnings: said }
}

function peerAuthentication(object: Custom, { rootNamespace }: Settings): Validation {
  const { invalid, selector, ports, disabled } = readPeerMode(object)
  const lost = !selector && ports.size > 0
  const errors = lost
    ? [...invalid, 'spec.portLevelMtls: has an effect only beside a selector; add one']
    : invalid
  const root = selector && namespaceOf(object) === rootNamespace
  return {
    errors,
    warnings: [
      ...(root
        ? [`spec.selector: selects nothing in namespace ${rootNamespace}; it is the whole mesh's`]
        : []),
      ...(disabled ? ['DISABLE is taken for PERMISSIVE: ztunnel always accepts mTLS'] : []),
    ],
  }
}

function serviceEntry(object: Custom): Validation {
  const entry = readServiceEntry(object)
  const hosts: unknown = isRecord(object.spec) ? object.spec['hosts'] : undefined
  const none = Array.isArray(hosts) && hosts.length > 0 ? [] : ['spec.hosts: at least one is needed']
  const { problems = [], unserved = [], exportedTo = [] } = entry ?? {}
  const wide =
    exportedTo.length > 0 && entry?.exportTo === 'everybody'
      ? ['spec.exportTo: single namespaces are not narrower than "*": ztunnel knows only "." and "*"']
      : []
  return { errors: [...none, ...problems], warnings: [...unserved, ...wide] }
}

function workloadEntry(spec: unknown, path: string): Validation {
  const { address, ports = {}, weight } = isRecord(spec) ? spec : {}
  const errors: string[] = []
  const warnings: string[] = []
  if (address === undefined || address === '')
    warnings.push(`${path}.address: without one nothing can be sent there`)
  else if (readEndpoint(spec) === undefined)
    errors.push(
      `${path}.address: ${shown(address)} is neither an IP address nor a host name, and ztunnel dials nothing else`,
    )
  for (const [name, port] of Object.entries(isRecord(ports) ? ports : { '': ports }))
    if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535)
      errors.push(`${path}.ports.${name}: ${shown(port)} is not a port; a number from 1 to 65535`)
  if (weight !== undefined && !(typeof weight === 'number' && Number.isInteger(weight) && weight >= 0))
    errors.push(`${path}.weight: ${shown(weight)} is not a weight; a whole number from 0 up`)
  return { errors, warnings }
}

/** A template has no address yet; the machines that register bring theirs. */
function workloadGroup({ spec }: Custom): Validation {
  const template: unknown = isRecord(spec) ? spec['template'] : undefined
  if (!isRecord(template))
    return {
      errors: [`spec.template: ${shown(template)} is not a template of a WorkloadEntry`],
      warnings: [],
    }
  return { errors: workloadEntry(template, 'spec.template').errors, warnings: [] }
}
