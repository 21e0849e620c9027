import type {
  Cors,
  Destination,
  DestinationPolicy,
  Fault,
  HeaderOps,
  HttpRule,
  Redirect,
  RetryPolicy,
} from '#routes'
import type { Json } from '../../helpers/envoy-config.ts'

// Our model of routes as Envoy has it: what Istio's control plane would have told it.

export const typed = (type: string, fields: Json = {}): Json => ({
  '@type': `type.googleapis.com/envoy.${type}`,
  ...fields,
})
const seconds = (ms: number) => `${ms / 1_000}s`

export const clusterName = ({ service, subset }: Destination): string =>
  `${service.split('/')[1]?.split('.')[0]}${subset === undefined ? '' : `-${subset}`}`

/** A rule whose match is a prefix or nothing. */
export function envoyRoute({
  name,
  match,
  action,
  fault,
  cors,
  requestHeaders,
  responseHeaders,
}: HttpRule): Json {
  const path = match.path
  const common = {
    name,
    match:
      path === undefined
        ? { prefix: '/' }
        : path.kind === 'segments'
          ? { path_separated_prefix: path.value }
          : { [path.kind === 'exact' ? 'path' : 'prefix']: path.value },
    ...headerFields('request', requestHeaders),
    ...headerFields('response', responseHeaders),
    typed_per_filter_config: {
      ...(fault ? { 'envoy.filters.http.fault': faultOf(fault) } : {}),
      ...(cors ? { 'envoy.filters.http.cors': corsOf(cors) } : {}),
    },
  }
  switch (action.kind) {
    case 'redirect':
      return { ...common, redirect: redirectOf(action) }
    case 'respond':
      return {
        ...common,
        direct_response: {
          status: action.status,
          ...(action.body === undefined ? {} : { body: { inline_bytes: action.body } }),
        },
      }
    case 'not-found':
      return { ...common, direct_response: { status: 404 } }
    case 'forward': {
      const clusters = action.destinations.map(({ weight, to }) => ({
        weight,
        name: to.kind === 'service' ? clusterName(to) : 'nobody',
      }))
      const rewrite = action.rewrite
      // Istio: a rule whose weights are all nothing answers by itself.
      if (clusters.every(({ weight }) => weight === 0)) return { ...common, direct_response: { status: 500 } }
      return {
        ...common,
        route: {
          ...(clusters.length === 1 ? { cluster: clusters[0]?.name } : { weighted_clusters: { clusters } }),
          timeout: seconds(action.timeoutMs),
          retry_policy: retryOf(action.retry),
          ...(rewrite?.authority === undefined ? {} : { host_rewrite_literal: rewrite.authority }),
          ...(rewrite?.path?.kind === 'prefix' ? { prefix_rewrite: rewrite.path.value } : {}),
          // Istio: a deadline of gRPC counts, up to the route's timeout.
          max_grpc_timeout: seconds(action.timeoutMs),
        },
      }
    }
  }
}

const headerFields = (side: 'request' | 'response', { set, add, remove }: HeaderOps): Json => ({
  [`${side}_headers_to_add`]: [
    ...set.map(({ name, value }) => header(name, value, 'OVERWRITE_IF_EXISTS_OR_ADD')),
    ...add.map(({ name, value }) => header(name, value, 'APPEND_IF_EXISTS_OR_ADD')),
  ],
  [`${side}_headers_to_remove`]: remove,
})
const header = (key: string, value: string, append_action: string): Json => ({
  header: { key, value },
  append_action,
})

const retryOf = (r: RetryPolicy): Json | undefined =>
  r.attempts === 0
    ? undefined
    : {
        retry_on: r.on.join(','),
        num_retries: r.attempts,
        retriable_status_codes: r.statuses,
        retry_back_off: { base_interval: seconds(r.backoffBaseMs), max_interval: seconds(r.backoffMaxMs) },
        ...(r.perTryTimeoutMs > 0 ? { per_try_timeout: seconds(r.perTryTimeoutMs) } : {}),
        ...(r.avoidPreviousHosts
          ? {
              host_selection_retry_max_attempts: 5,
              retry_host_predicate: [
                {
                  name: 'envoy.retry_host_predicates.previous_hosts',
                  typed_config: typed('extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate'),
                },
              ],
            }
          : {}),
      }

const redirectOf = ({ status, scheme, host, port, path }: Redirect): Json => ({
  response_code: {
    301: 'MOVED_PERMANENTLY',
    302: 'FOUND',
    303: 'SEE_OTHER',
    307: 'TEMPORARY_REDIRECT',
    308: 'PERMANENT_REDIRECT',
  }[status],
  ...(scheme === undefined ? {} : { scheme_redirect: scheme }),
  ...(host === undefined ? {} : { host_redirect: host }),
  ...(typeof port === 'number' ? { port_redirect: port } : {}),
  ...(path?.kind === 'full' ? { path_redirect: path.value } : {}),
  ...(path?.kind === 'prefix' ? { prefix_rewrite: path.value } : {}),
})

const percent = (ppm: number): Json => ({ numerator: ppm, denominator: 'MILLION' })
const faultOf = ({ delay, abort }: Fault): Json =>
  typed('extensions.filters.http.fault.v3.HTTPFault', {
    ...(delay ? { delay: { fixed_delay: seconds(delay.delayMs), percentage: percent(delay.ppm) } } : {}),
    ...(abort
      ? {
          abort: {
            [abort.with.kind === 'http' ? 'http_status' : 'grpc_status']: abort.with.status,
            percentage: percent(abort.ppm),
          },
        }
      : {}),
  })

const corsOf = (cors: Cors): Json =>
  typed('extensions.filters.http.cors.v3.CorsPolicy', {
    allow_origin_string_match: cors.allowOrigins.map((origin) =>
      origin.kind === 'any'
        ? { safe_regex: { regex: '.*' } }
        : origin.kind === 'regex'
          ? { safe_regex: { regex: origin.value } }
          : { [origin.kind]: origin.value },
    ),
    allow_methods: cors.allowMethods.join(','),
    allow_headers: cors.allowHeaders.join(','),
    expose_headers: cors.exposeHeaders.join(','),
    ...(cors.maxAgeSeconds === undefined ? {} : { max_age: `${cors.maxAgeSeconds}` }),
    allow_credentials: cors.allowCredentials,
    forward_not_matching_preflights: cors.unmatchedPreflights === 'forward',
  })

const options = 'extensions.upstreams.http.v3.HttpProtocolOptions'

/** `ports`: endpoints on 127.0.0.1. */
export const envoyCluster = (name: string, ports: readonly number[], policy: DestinationPolicy): Json => ({
  name,
  type: 'STATIC',
  lb_policy: 'LEAST_REQUEST',
  connect_timeout: seconds(policy.connections.connectTimeoutMs),
  circuit_breakers: {
    thresholds: [
      {
        max_connections: Math.min(policy.connections.maxConnections, 2 ** 32 - 1),
        max_pending_requests: Math.min(policy.connections.maxPending, 2 ** 32 - 1),
        max_requests: Math.min(policy.connections.maxRequests, 2 ** 32 - 1),
        max_retries: Math.min(policy.connections.maxRetries, 2 ** 32 - 1),
      },
    ],
  },
  load_assignment: {
    cluster_name: name,
    endpoints: [
      {
        lb_endpoints: ports.map((port) => ({
          endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } },
        })),
      },
    ],
  },
  typed_extension_protocol_options: {
    [`envoy.${options}`]: typed(options, {
      ...(policy.connections.maxRequestsPerConnection > 0
        ? {
            common_http_protocol_options: {
              max_requests_per_connection: policy.connections.maxRequestsPerConnection,
            },
          }
        : {}),
      ...(policy.http === 'client'
        ? { use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: {} } }
        : {
            explicit_http_config:
              policy.http === 'http2' ? { http2_protocol_options: {} } : { http_protocol_options: {} },
          }),
    }),
  },
})

const logFields = {
  path: '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
  method: '%REQ(:METHOD)%',
  protocol: '%PROTOCOL%',
  authority: '%REQ(:AUTHORITY)%',
  response_code: '%RESPONSE_CODE%',
  response_flags: '%RESPONSE_FLAGS%',
  response_code_details: '%RESPONSE_CODE_DETAILS%',
  connection_termination_details: '%CONNECTION_TERMINATION_DETAILS%',
  bytes_received: '%BYTES_RECEIVED%',
  bytes_sent: '%BYTES_SENT%',
  route_name: '%ROUTE_NAME%',
  request_id: '%REQ(X-REQUEST-ID)%',
}

/** A listener as Istio makes one of a waypoint's HTTP chain, without TLS. */
export const envoyListener = (name: string, logPath: string, rules: readonly HttpRule[]): Json => ({
  name,
  address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
  filter_chains: [
    {
      filters: [
        {
          name: 'http',
          typed_config: typed('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
            stat_prefix: name,
            codec_type: 'AUTO',
            server_name: 'istio-envoy',
            use_remote_address: false,
            // Who says that it is of the mesh may steer retries and timeouts.
            internal_address_config: { cidr_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] },
            normalize_path: true,
            proxy_100_continue: true,
            stream_idle_timeout: '0s',
            forward_client_cert_details: 'SANITIZE',
            upgrade_configs: [{ upgrade_type: 'websocket' }],
            access_log: [
              {
                name: 'file',
                typed_config: typed('extensions.access_loggers.file.v3.FileAccessLog', {
                  path: logPath,
                  log_format: { json_format: logFields },
                }),
              },
            ],
            http_filters: [
              {
                name: 'envoy.filters.http.fault',
                typed_config: typed('extensions.filters.http.fault.v3.HTTPFault'),
              },
              {
                name: 'envoy.filters.http.cors',
                typed_config: typed('extensions.filters.http.cors.v3.Cors'),
              },
              {
                name: 'envoy.filters.http.router',
                typed_config: typed('extensions.filters.http.router.v3.Router'),
              },
            ],
            route_config: {
              virtual_hosts: [
                {
                  name: 'all',
                  domains: ['*'],
                  include_request_attempt_count: true,
                  routes: rules.map(envoyRoute),
                },
              ],
            },
          }),
        },
      ],
    },
  ],
})
