import {
  type Check,
  fields,
  filled,
  into,
  isThere,
  list,
  needsOne,
  oneOf,
  refuse,
  required,
  shown,
  text,
  warn,
} from './check.ts'
import { destination } from './destination.ts'
import { serverTls } from './gateway.ts'
import { labels, port, scopedHost } from './formats.ts'
import { connectionPool } from './traffic-policy.ts'

const ports = fields({ number: port, protocol: filled, name: text, targetPort: port })
const captureMode = oneOf('DEFAULT', 'IPTABLES', 'NONE')
const endpointPattern = /^((127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):\d{1,5}|unix:\/\/.+)$/
const defaultEndpoint: Check = (value, at) => {
  if (typeof value !== 'string' || !endpointPattern.test(value))
    refuse(at, `${shown(value)} is none of 127.0.0.1:port, 0.0.0.0:port, [::1]:port, [::]:port, unix:///path`)
}

const ingress = fields(
  { port: ports, bind: text, captureMode, defaultEndpoint, tls: serverTls, connectionPool },
  (value, at) => required(value, at, 'port'),
)
const egress = fields(
  {
    port: ports,
    bind: text,
    captureMode,
    hosts: list(scopedHost({ needed: true, scopes: ['*', '.', '~'] }), { least: 1 }),
  },
  (value, at) => {
    required(value, at, 'hosts')
    if (isThere(value['bind']) && value['bind'] !== '' && !isThere(value['port']))
      refuse(into(at, 'bind'), 'needs a port beside it')
  },
)

/** No sidecars here, but what would break Istio's is told all the same: the object may be shared. */
export const sidecar: Check = fields(
  {
    workloadSelector: fields({ labels }),
    ingress: list(ingress),
    egress: list(egress),
    inboundConnectionPool: connectionPool,
    outboundTrafficPolicy: fields({ mode: oneOf('REGISTRY_ONLY', 'ALLOW_ANY'), egressProxy: destination }),
  },
  (value, at) => {
    needsOne(value, at, [
      'workloadSelector',
      'ingress',
      'egress',
      'inboundConnectionPool',
      'outboundTrafficPolicy',
    ])
    warn(at, 'there are no sidecars in ambient mode; it has no effect')
  },
)
