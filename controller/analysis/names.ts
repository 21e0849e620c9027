import type { Service } from '#kube'
import { message, type Message } from './message.ts'
import { resourceOf } from './resource.ts'
import type { World } from './world.ts'

/** Annotations that something here reads, and of which kinds. */
const annotations: ReadonlyMap<string, readonly string[]> = new Map([
  ['ambient.istio.io/redirection', ['Pod']],
  ['ambient.istio.io/bypass-inbound-capture', ['Pod']],
  ['ambient.istio.io/dns-capture', ['Pod']],
  ['istio.io/reroute-virtual-interfaces', ['Pod']],
  ['ambient.istio.io/waypoint-inbound-binding', ['Gateway', 'GatewayClass']],
  ['networking.istio.io/traffic-distribution', ['Service', 'ServiceEntry', 'Namespace']],
  ['networking.istio.io/service-type', ['Gateway']],
  ['gateway.istio.io/name-override', ['Gateway']],
  ['gateway.istio.io/service-account', ['Gateway']],
  ['gateway.istio.io/controller-version', ['Gateway', 'Deployment', 'Service', 'ServiceAccount']],
  ['istio.io/dry-run', ['AuthorizationPolicy']],
  ['istio.io/use-waypoint-canary-weight', ['Service', 'ServiceEntry', 'Namespace']],
  [
    'lateen.dev/waypoint-fail-open',
    ['Gateway', 'Service', 'ServiceEntry', 'Namespace', 'Pod', 'WorkloadEntry'],
  ],
])
/** Of these domains nobody else has annotations. */
const ours = /(^|\.)(istio\.io|lateen\.dev)\//
/** Sidecars', which workloads may bring along from another mesh. */
const sidecars =
  /^(sidecar|traffic\.sidecar|inject|proxy|prometheus|readiness\.status\.sidecar|status\.sidecar)\.istio\.io\//

export function annotationMessages({ objects }: World): readonly Message[] {
  return objects.flatMap((object) =>
    Object.keys(object.metadata.annotations ?? {})
      .filter((name) => ours.test(name))
      .flatMap((name) => {
        const kinds = annotations.get(name)
        if (kinds === undefined)
          return [
            message(
              'UnknownAnnotation',
              resourceOf(object),
              sidecars.test(name)
                ? `${name}: is for sidecars, of which there are none here`
                : `${name}: is not known here`,
            ),
          ]
        return kinds.includes(object.kind ?? '')
          ? []
          : [message('MisplacedAnnotation', resourceOf(object), `${name}: is for ${kinds.join(', ')}`)]
      }),
  )
}

/** Ports whose protocol waypoints find out by looking, because nobody declares it. */
export function portMessages({ routes, inputs }: World): readonly Message[] {
  return routes.services.list().flatMap(({ key, kind, ports, waypoints }) => {
    const service: Service | undefined = kind === 'Service' ? inputs.services.get(key) : undefined
    if (service === undefined || waypoints.length === 0) return []
    return ports
      .filter(({ protocol }) => protocol === 'auto')
      .map(({ port, name }) =>
        message(
          'PortNameIsNotUnderNamingConvention',
          `Service ${key}`,
          `port ${port}${name === '' ? '' : ` (${name})`}: neither appProtocol nor the first word of its name says what is spoken; it is found out by looking`,
        ),
      )
  })
}
