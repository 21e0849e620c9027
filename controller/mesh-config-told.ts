import { isDeepStrictEqual } from 'node:util'
import { parse } from 'yaml'
import { isRecord } from '#base'
import type { Collection, ConfigMap } from '#kube'
import type { Logger } from '#telemetry'
import { readMeshDefaults } from './routes/index.ts'

/** A field of the ConfigMap `istio` that is not heeded, and why. */
type Told = Readonly<{ field: string; reason: string }>

const sidecars = 'is for sidecars and gateways, of which there are none here'
const ofEnvoy = 'is for Envoy, which nothing here is'
const oneCluster = 'is for meshes of several clusters; this is one'
const providers =
  'nothing asks or tells such a provider yet: policies of action CUSTOM deny, nothing is traced, metrics are for Prometheus'

type Judge = string | Readonly<{ reason: string; fine: readonly unknown[] }>
/** Field → why it is not heeded, unless it says what is so anyway. Parts of a map have a path of their own. */
const judges: Readonly<Record<string, Judge>> = {
  proxyListenPort: sidecars,
  proxyInboundListenPort: sidecars,
  proxyHttpPort: sidecars,
  inboundTrafficPolicy: { reason: sidecars, fine: [{ mode: 'PASSTHROUGH' }] },
  enablePrometheusMerge: { reason: sidecars, fine: [true] },
  'outboundTrafficPolicy.tls': 'there is no TLS to who is not in the registry',
  enableEnvoyAccessLogService: { reason: ofEnvoy, fine: [false] },
  disableEnvoyListenerLog: { reason: ofEnvoy, fine: [false] },
  thriftConfig: ofEnvoy,
  inboundClusterStatName: ofEnvoy,
  outboundClusterStatName: ofEnvoy,
  ingressClass: 'objects of kind Ingress are not served',
  ingressService: 'objects of kind Ingress are not served',
  ingressSelector: 'objects of kind Ingress are not served',
  ingressControllerMode: { reason: 'objects of kind Ingress are not served', fine: ['OFF'] },
  enableTracing: { reason: 'nothing is traced yet', fine: [false] },
  'defaultConfig.proxyMetadata': {
    reason: 'waypoints take variables from their Gateway’s parameters (a ConfigMap) only',
    fine: [{ ISTIO_META_ENABLE_HBONE: 'true' }],
  },
  'defaultConfig.tracing': 'nothing is traced yet',
  'defaultConfig.discoveryAddress': {
    reason: 'waypoints ask the controller that deploys them, by its own CA_ADDRESS',
    fine: ['istiod.istio-system.svc:15012', 'istiod.istio-system.svc.cluster.local:15012', 'istiod:15012'],
  },
  'serviceEntryVisibility.applyToSidecars': { reason: sidecars, fine: [false] },
  'defaultConfig.*': 'waypoints have no ProxyConfig; their Gateway’s parameters (a ConfigMap) shape them',
  'defaultProviders.metrics': { reason: providers, fine: [['prometheus']] },
  'defaultProviders.*': providers,
  configSources: 'configuration comes from the Kubernetes API only',
  enableAutoMtls: { reason: 'between workloads of the mesh there is always mTLS', fine: [true] },
  caCertificates: { reason: 'nobody is believed but our own CA’s root; see Secret cacerts', fine: [[]] },
  ca: 'the CA is our own; see Secret cacerts for another root',
  certificates: { reason: 'DNS certificates are not signed', fine: [[]] },
  dnsRefreshRate: 'names are asked for again at intervals of our own',
  serviceSettings: { reason: oneCluster, fine: [[]] },
  serviceScopeConfigs: { reason: oneCluster, fine: [[]] },
  verifyCertificateAtClient: {
    reason: 'certificates of upstreams are checked, unless a DestinationRule says insecureSkipVerify',
    fine: [true],
  },
  'pathNormalization.normalization': {
    reason: 'paths are spelled at least as BASE has it',
    fine: ['BASE', 'DEFAULT', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'],
  },
  'meshMTLS.minProtocolVersion': {
    reason: 'it is TLS 1.3 always',
    fine: ['TLS_AUTO', 'TLSV1_2', 'TLSV1_3'],
  },
  'meshMTLS.*': 'TLS 1.3 has its own suites; for post-quantum curves see COMPLIANCE_POLICY',
  tlsDefaults: 'TLS to upstreams is as a DestinationRule says, from TLS 1.2 on',
  protocolDetectionTimeout: {
    reason: 'a variable of the waypoint, PROTOCOL_DETECTION_TIMEOUT, says how long it waits',
    fine: ['0s', '0ms'],
  },
  hboneIdleTimeout: { reason: 'tunnels end after intervals of our own', fine: ['1h', '3600s'] },
  zoneAwareLbSetting: 'localities are for localityLbSetting and trafficDistribution',
}

/** Read elsewhere: mesh-config.ts, routes/mesh-defaults.ts, telemetry/ (which says itself what it leaves), and ztunnel (outboundTrafficPolicy.mode, at its start). */
const heeded: ReadonlySet<string> = new Set([
  'trustDomain',
  'trustDomainAliases',
  'rootNamespace',
  'discoverySelectors',
  'serviceEntryVisibility.defaultVisibility',
  'serviceEntryVisibility.policies',
  'defaultServiceExportTo',
  'defaultVirtualServiceExportTo',
  'defaultDestinationRuleExportTo',
  'defaultHttpRetryPolicy',
  'defaultTrafficPolicy',
  'connectTimeout',
  'tcpKeepalive',
  'h2UpgradePolicy',
  'localityLbSetting',
  'outboundTrafficPolicy.mode',
  'defaultProviders.accessLogging',
  'accessLogFile',
  'accessLogEncoding',
  'accessLogFormat',
])
const parted = new Set([...Object.keys(judges), ...heeded].flatMap((path) => path.split('.').slice(0, -1)))

/** What `mesh` says that is not heeded. What cannot be read at all is told elsewhere. */
export function unheededFields(mesh: unknown): readonly Told[] {
  if (!isRecord(mesh)) return []
  return Object.entries(mesh).flatMap(([field, value]) => {
    if (field === 'extensionProviders' && Array.isArray(value)) return value.flatMap(toldOfProvider)
    return parted.has(field) && isRecord(value)
      ? Object.entries(value).flatMap(([part, one]) => toldOf(`${field}.${part}`, one, judges[`${field}.*`]))
      : toldOf(field, value)
  })
}

const ofFiles = ['path', 'logFormat', 'omitEmptyValues']
/** Those for files are read by telemetry/; Prometheus needs nobody's word. */
function toldOfProvider(value: unknown, nth: number): readonly Told[] {
  const {
    name: _name,
    envoyFileAccessLog: file,
    prometheus: _prometheus,
    ...others
  } = isRecord(value) ? value : {}
  const inFile = Object.keys(isRecord(file) ? file : {}).filter((part) => !ofFiles.includes(part))
  return [
    ...Object.keys(others).map((kind) => ({
      field: `extensionProviders[${nth}].${kind}`,
      reason: providers,
    })),
    ...inFile.map((part) => ({
      field: `extensionProviders[${nth}].envoyFileAccessLog.${part}`,
      reason: 'is not known',
    })),
  ]
}

function toldOf(field: string, value: unknown, otherwise?: Judge): readonly Told[] {
  if (value === undefined || value === null || heeded.has(field)) return []
  const judge = judges[field] ?? otherwise ?? 'is not known'
  if (typeof judge === 'string') return [{ field, reason: judge }]
  return judge.fine.some((one) => isDeepStrictEqual(one, value)) ? [] : [{ field, reason: judge.reason }]
}

/** `meshNetworks` of the ConfigMap is not read: nothing of it is needed where workloads say which network they are in. */
export function unheededNetworks(networks: unknown): readonly Told[] {
  const names = isRecord(networks)
    ? Object.keys(isRecord(networks['networks']) ? networks['networks'] : networks)
    : []
  return names.map((name) => ({
    field: `meshNetworks.${name}`,
    reason:
      'networks are labels topology.istio.io/network, and the ways into them Gateways of class istio-remote',
  }))
}

/** Says once what is not heeded, and again when it is another. */
export function tellUnheeded(maps: Collection<ConfigMap>, log: Logger): Disposable {
  let told: ReadonlySet<string> = new Set()
  return maps.subscribe((changes) => {
    for (const { row } of changes) {
      const now = new Map(unheededIn(row).map((one) => [`${one.field} ${one.reason}`, one]))
      for (const [key, fields] of now)
        if (!told.has(key)) log.warn('the ConfigMap istio says what is not heeded', fields)
      told = new Set(now.keys())
    }
  })
}

function unheededIn(map: ConfigMap | undefined): readonly Told[] {
  try {
    const [mesh, networks]: readonly unknown[] = [
      parse(map?.data?.['mesh'] ?? '{}') ?? {},
      parse(map?.data?.['meshNetworks'] ?? '{}') ?? {},
    ]
    const remarks = readMeshDefaults(mesh).remarks.map((remark) => {
      const at = remark.indexOf(': ')
      return { field: remark.slice(0, at), reason: remark.slice(at + 2) }
    })
    return [...unheededFields(mesh), ...unheededNetworks(networks), ...remarks]
  } catch {
    return [] // what cannot be read is told by who reads it, and nothing of it counts
  }
}
