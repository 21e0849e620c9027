import type { Destination, DestinationPolicy, HttpRule } from '#routes'
import { envoyRoute, seconds, typed } from '../../../waypoint/admin/envoy-route.ts'
import type { Json } from '../../helpers/envoy-config.ts'

// What Istio's control plane would have told an Envoy of the same rules.

const clusterName = ({ service, subset }: Destination): string =>
  `${service.split('/')[1]?.split('.')[0]}${subset === undefined ? '' : `-${subset}`}`

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

/** What both sides write of a request. */
export const logFields = {
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
  upstream_cluster: '%UPSTREAM_CLUSTER%',
  upstream_host: '%UPSTREAM_HOST%',
  upstream_protocol: '%UPSTREAM_PROTOCOL%',
  transport_failure: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
  attempts: '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
  grpc_status: '%GRPC_STATUS_NUMBER%',
  response_ms: '%RESPONSE_DURATION%',
  response_tx_ms: '%RESPONSE_TX_DURATION%',
  service_ms: '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%',
  grpc_trailer: '%TRAILER(GRPC-STATUS)%',
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
                  routes: rules.map((rule) => envoyRoute(rule, clusterName)),
                },
              ],
            },
          }),
        },
      ],
    },
  ],
})
