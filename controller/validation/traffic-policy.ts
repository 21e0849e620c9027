import {
  type At,
  bool,
  type Check,
  type Fields,
  fields,
  filled,
  into,
  isThere,
  list,
  listAt,
  needsOne,
  number,
  oneOf,
  present,
  recordAt,
  refuse,
  required,
  shown,
  text,
  unheeded,
  warn,
  whole,
} from './check.ts'
import { duration, host, port } from './formats.ts'
import { loadBalancer } from './load-balancer.ts'

const maxInt = 2 ** 31 - 1
const count = whole(0, maxInt)
const needsSome =
  (names: readonly string[]) =>
  (value: Fields, at: At): void =>
    needsOne(value, at, names)

const tcpFields = {
  maxConnections: count,
  connectTimeout: duration(),
  tcpKeepalive: fields({ probes: count, time: duration(), interval: duration() }),
  maxConnectionDuration: duration(),
  idleTimeout: duration({ zero: true }),
}
const httpFields = {
  http1MaxPendingRequests: count,
  http2MaxRequests: count,
  maxRequestsPerConnection: count,
  maxRetries: count,
  idleTimeout: duration({ zero: true }),
  h2UpgradePolicy: oneOf('DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'),
  useClientProtocol: bool,
  maxConcurrentStreams: count,
  http2KeepAlive: fields({ interval: duration(), timeout: duration() }),
}
export const connectionPool: Check = fields(
  {
    tcp: fields(tcpFields, needsSome(Object.keys(tcpFields))),
    http: fields(httpFields, (value, at) => {
      needsOne(value, at, Object.keys(httpFields))
      if (value['h2UpgradePolicy'] === 'UPGRADE' && value['useClientProtocol'] === true)
        refuse(into(at, 'useClientProtocol'), 'excludes h2UpgradePolicy UPGRADE')
    }),
  },
  needsSome(['tcp', 'http']),
)

const outlierDetection = fields(
  {
    consecutiveErrors: unheeded(count, 'is not honoured; use consecutive5xxErrors'),
    splitExternalLocalOriginErrors: bool,
    consecutiveLocalOriginFailures: count,
    consecutiveGatewayErrors: count,
    consecutive5xxErrors: count,
    interval: duration(),
    baseEjectionTime: duration(),
    maxEjectionPercent: whole(0, 100),
    minHealthPercent: whole(0, 100),
    outlierDetectionHttpErrorCodes: list(whole(100, 599)),
  },
  (value, at) => {
    const local = value['consecutiveLocalOriginFailures']
    if (typeof local === 'number' && local > 0 && value['splitExternalLocalOriginErrors'] !== true)
      refuse(
        into(at, 'consecutiveLocalOriginFailures'),
        'counts only where splitExternalLocalOriginErrors is true',
      )
  },
)

const clientFiles = ['clientCertificate', 'privateKey', 'caCertificates']
const tls: Check = fields(
  {
    mode: oneOf('DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL'),
    clientCertificate: text,
    privateKey: text,
    caCertificates: text,
    caCrl: text,
    credentialName: text,
    subjectAltNames: list(filled),
    sni: text,
    insecureSkipVerify: bool,
  },
  (value, at) => {
    const { mode, insecureSkipVerify } = value
    if (mode === 'DISABLE' || mode === 'ISTIO_MUTUAL')
      warn(
        into(at, 'mode'),
        `${mode} changes nothing in ambient: ztunnel and waypoints speak mTLS among each other`,
      )
    const given = (name: string) => isThere(value[name]) && value[name] !== ''
    if ((mode === 'MUTUAL' || mode === 'SIMPLE') && given('credentialName') && clientFiles.some(given))
      refuse(into(at, 'credentialName'), `excludes ${clientFiles.filter(given).join(', ')}`)
    if (mode === 'MUTUAL' && !given('credentialName'))
      for (const name of ['clientCertificate', 'privateKey']) required(value, at, name)
    if (insecureSkipVerify === true)
      for (const name of ['caCertificates', 'subjectAltNames'].filter(given))
        refuse(into(at, name), 'is not looked at where insecureSkipVerify is true; keep one')
  },
)

const groups = { loadBalancer, connectionPool, outlierDetection, tls }
const perPort = fields(
  { ...groups, port: fields({ number: port }, (value, at) => required(value, at, 'number')) },
  (value, at) => {
    required(value, at, 'port')
    needsOne(value, at, Object.keys(groups))
  },
)

const tunnel = fields(
  { protocol: oneOf('CONNECT', 'POST'), targetHost: host({ address: true }), targetPort: port },
  (value, at) => required(value, at, 'targetHost', 'targetPort'),
)

const policyFields = {
  ...groups,
  portLevelSettings: list(perPort),
  tunnel,
  proxyProtocol: fields({ version: oneOf('V1', 'V2') }),
  retryBudget: fields({
    percent: number(0, 100),
    minRetryConcurrency: count,
    budgetInterval: duration({ zero: true }),
  }),
}

export const trafficPolicy: Check = fields(policyFields, (value, at) => {
  needsOne(value, at, Object.keys(policyFields))
  const ports = listAt(value, 'portLevelSettings').map((one) => portOf(one))
  for (const [n, one] of ports.entries())
    if (one !== undefined && ports.indexOf(one) < n)
      refuse(into(into(at, 'portLevelSettings'), n), `port ${shown(one)} is there twice`)
  const locality = recordAt(recordAt(value, 'loadBalancer'), 'localityLbSetting')
  const fails = present(locality, ['failover', 'failoverPriority'])
  if (fails.length > 0 && !isThere(value['outlierDetection']))
    warn(
      into(at, 'outlierDetection'),
      `is needed for ${fails.join(' and ')}: without it nothing is found to have failed`,
    )
})

const portOf = (one: unknown): unknown =>
  typeof one === 'object' &&
  one !== null &&
  'port' in one &&
  typeof one.port === 'object' &&
  one.port !== null &&
  'number' in one.port
    ? one.port.number
    : undefined
