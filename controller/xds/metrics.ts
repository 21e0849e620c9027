import { Counter, Gauge, Histogram, type Registry } from '#telemetry'

/** Names as Istio's. */
export const xdsMetrics = (registry: Registry) => {
  const registers = [registry]
  return {
    clients: new Gauge({
      name: 'pilot_xds',
      help: 'Connected xDS clients',
      labelNames: ['version'],
      registers,
    }),
    pushes: new Counter({
      name: 'pilot_xds_pushes',
      help: 'Responses sent, by type; `_senderr` where the client was gone',
      labelNames: ['type'],
      registers,
    }),
    triggers: new Counter({
      name: 'pilot_push_triggers',
      help: 'Publications, by what changed',
      labelNames: ['type'],
      registers,
    }),
    rejects: new Counter({
      name: 'pilot_total_xds_rejects',
      help: 'Responses that a client rejected',
      labelNames: ['type'],
      registers,
    }),
    staleNonces: new Counter({
      name: 'pilot_xds_expired_nonce',
      help: 'Requests that answer a response other than the last',
      labelNames: ['type'],
      registers,
    }),
    bytes: new Histogram({
      name: 'pilot_xds_config_size_bytes',
      help: 'Bytes of the resources in one response, by type',
      labelNames: ['type'],
      buckets: [1, 1_000, 10_000, 100_000, 1e6, 4e6, 1e7, 4e7, 2e8],
      registers,
    }),
    writeTimeouts: new Counter({
      name: 'pilot_xds_write_timeout',
      help: 'Streams ended because the client did not read',
      registers,
    }),
    internalErrors: new Counter({
      name: 'pilot_total_xds_internal_errors',
      help: 'Requests that failed for no fault of the client',
      registers,
    }),
    ...xdsTimes(registry),
  }
}

/** Where the time goes from a change to the clients that have it. */
function xdsTimes(registry: Registry) {
  const registers = [registry]
  const buckets = [0.001, 0.01, 0.05, 0.1, 0.5, 1, 3, 5, 10, 30]
  const seconds = (name: string, help: string) => new Histogram({ name, help, buckets, registers })
  return {
    debounce: seconds('pilot_debounce_time', 'Seconds from the first change to its publication'),
    publishing: seconds('pilot_pushcontext_init_seconds', 'Seconds that a publication takes'),
    queue: seconds(
      'pilot_proxy_queue_time',
      'Seconds from a publication until a client is served it, which may be busy with the one before',
    ),
    push: new Histogram({
      name: 'pilot_xds_push_time',
      help: 'Seconds that it takes to find out and hand over what a client lacks, by type',
      labelNames: ['type'],
      buckets,
      registers,
    }),
    send: seconds(
      'pilot_xds_send_time',
      'Seconds until the transport has passed a response on, which it does as fast as the client reads',
    ),
    convergence: seconds(
      'pilot_proxy_convergence_time',
      'Seconds from publication to the acknowledgement of a client',
    ),
  }
}

/** What is counted of xDS. */
export type XdsMetrics = ReturnType<typeof xdsMetrics>

/** Istio's short names of the types; what a waypoint is told in types of ours has those of what its Envoy peer is told. */
const shortNames: ReadonlyMap<string, string> = new Map([
  ['istio.workload.Address', 'wds'],
  ['istio.security.Authorization', 'wads'],
  ['lateen.dev.ServiceRoutes', 'rds'],
  ['lateen.dev.TargetedPolicy', 'lds'],
  ['lateen.dev.WaypointTelemetry', 'lds'],
])

export const shortName = (typeUrl: string): string =>
  shortNames.get(typeUrl.slice(typeUrl.lastIndexOf('/') + 1)) ?? 'other'
