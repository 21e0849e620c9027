import type { SpiffeId, WorkloadCertificate } from '#identity'

/** A part of Envoy's configuration, as its JSON has it. */
export type Json = Readonly<Record<string, unknown>>
export type Place = Readonly<{ address: string; port: number }>

const typed = (type: string, fields: Json = {}): Json => ({
  '@type': `type.googleapis.com/envoy.${type}`,
  ...fields,
})
const socketAddress = ({ address, port }: Place): Json => ({
  socket_address: { address, port_value: port },
})
const http2Type = 'extensions.upstreams.http.v3.HttpProtocolOptions'

/** Mutual TLS 1.3 as the mesh has it; Envoy's own SPIFFE validator judges the peer. */
const tlsContext = (own: WorkloadCertificate, peers: readonly SpiffeId[]): Json => ({
  tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
  alpn_protocols: ['h2'],
  tls_certificates: [
    {
      certificate_chain: { inline_string: own.chainPem.join('') },
      private_key: { inline_string: own.privateKeyPem },
    },
  ],
  validation_context: {
    match_typed_subject_alt_names: peers.map((exact) => ({ san_type: 'URI', matcher: { exact } })),
    custom_validator_config: {
      name: 'envoy.tls.cert_validator.spiffe',
      typed_config: typed('extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig', {
        trust_domains: [{ name: 'cluster.local', trust_bundle: { inline_string: own.rootsPem.join('') } }],
      }),
    },
  },
})

const accessLog = (path: string, fields: Readonly<Record<string, string>>): Json => ({
  name: 'file',
  typed_config: typed('extensions.access_loggers.file.v3.FileAccessLog', {
    path,
    log_format: { json_format: fields },
  }),
})

/** What `terminating` writes per tunnel. */
const tunnelFields = {
  tls: '%DOWNSTREAM_TLS_VERSION%',
  peer: '%DOWNSTREAM_PEER_URI_SAN%',
  protocol: '%PROTOCOL%',
  authority: '%REQ(:AUTHORITY)%',
  status: '%RESPONSE_CODE%',
  baggage: '%REQ(BAGGAGE)%',
  odd: '%REQ(X-ODD)%',
  connection: '%CONNECTION_ID%',
}

type Terminating = Readonly<{
  name: string
  own: WorkloadCertificate
  peers: readonly SpiffeId[]
  log: string
  at?: Place
  http2?: Json
  /** Authorities that are answered with a status instead of a tunnel. */
  refused?: Readonly<Record<string, number>>
  /** Everything goes here instead of to the address in the authority. */
  to?: string
  maxTunnelsPerConnection?: number
}>

const loopback: Place = { address: '127.0.0.1', port: 0 }
const connectTo = (cluster: string): Json => ({
  match: { connect_matcher: {} },
  route: { cluster, timeout: '0s', upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }] },
})
const refuseAs = (authority: string, status: number): Json => ({
  name: authority,
  domains: [authority],
  routes: [{ match: { connect_matcher: {} }, direct_response: { status } }],
})

/** A listener that terminates HBONE: mutual TLS, HTTP/2, CONNECT to the address in the authority. */
export const terminating = (o: Terminating): Json => ({
  name: o.name,
  address: socketAddress(o.at ?? loopback),
  filter_chains: [
    {
      transport_socket: {
        name: 'tls',
        typed_config: typed('extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
          require_client_certificate: true,
          common_tls_context: tlsContext(o.own, o.peers),
        }),
      },
      filters: [{ name: 'hcm', typed_config: connectManager(o) }],
    },
  ],
})

const connectManager = (o: Terminating): Json =>
  typed('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: o.name,
    codec_type: 'HTTP2',
    access_log: [accessLog(o.log, { listener: o.name, ...tunnelFields })],
    drain_timeout: '0.3s',
    stream_idle_timeout: '0s',
    http2_protocol_options: { allow_connect: true, ...o.http2 },
    upgrade_configs: [{ upgrade_type: 'CONNECT' }],
    common_http_protocol_options:
      o.maxTunnelsPerConnection === undefined
        ? {}
        : { max_requests_per_connection: o.maxTunnelsPerConnection },
    route_config: {
      virtual_hosts: [
        ...Object.entries(o.refused ?? {}).map(([authority, status]) => refuseAs(authority, status)),
        {
          name: 'all',
          domains: ['*'],
          response_headers_to_add: [{ header: { key: 'baggage', value: 'k8s.pod.name=envoy' } }],
          routes: [connectTo(o.to ?? 'by-authority')],
        },
      ],
    },
    http_filters: [{ name: 'router', typed_config: typed('extensions.filters.http.router.v3.Router') }],
  })

type Originating = Readonly<{
  name: string
  cluster: string
  authority: string
  log: string
  at?: Place
  headers?: Readonly<Record<string, string>>
  /** How often Envoy asks for a tunnel before it gives up. */
  attempts?: number
}>

/** A plain TCP listener whose connections leave as HBONE tunnels on `cluster`. */
export const originating = (o: Originating): Json => ({
  name: o.name,
  address: socketAddress(o.at ?? loopback),
  filter_chains: [
    {
      filters: [
        {
          name: 'tcp',
          typed_config: typed('extensions.filters.network.tcp_proxy.v3.TcpProxy', {
            stat_prefix: o.name,
            cluster: o.cluster,
            idle_timeout: '0s',
            max_connect_attempts: o.attempts ?? 1,
            access_log: [
              accessLog(o.log, {
                listener: o.name,
                tls: '%UPSTREAM_TLS_VERSION%',
                peer: '%UPSTREAM_PEER_URI_SAN%',
                flags: '%RESPONSE_FLAGS%',
              }),
            ],
            tunneling_config: {
              hostname: o.authority,
              headers_to_add: Object.entries(o.headers ?? {}).map(([key, value]) => ({
                header: { key, value: value.replaceAll('%', '%%') },
              })),
            },
          }),
        },
      ],
    },
  ],
})

type HboneCluster = Readonly<{
  name: string
  own: WorkloadCertificate
  peers: readonly SpiffeId[]
  to: Place
  http2?: Json
}>

/** Where HBONE goes: HTTP/2 over mutual TLS. */
export const hboneCluster = ({ name, own, peers, to, http2 = {} }: HboneCluster): Json => ({
  ...staticCluster(name, to),
  typed_extension_protocol_options: {
    [`envoy.${http2Type}`]: typed(http2Type, {
      explicit_http_config: { http2_protocol_options: { allow_connect: true, ...http2 } },
    }),
  },
  transport_socket: {
    name: 'tls',
    typed_config: typed('extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
      common_tls_context: tlsContext(own, peers),
    }),
  },
})

const endpoint = (to: Json): Json => ({ lb_endpoints: [{ endpoint: { address: to } }] })
const staticCluster = (name: string, to: Place): Json => ({
  name,
  type: 'STATIC',
  connect_timeout: '2s',
  load_assignment: { cluster_name: name, endpoints: [endpoint(socketAddress(to))] },
})

/** Plain TCP to one place. */
export const tcpCluster = staticCluster

/** Plain TCP to whatever the CONNECT asked for, as a waypoint does it. */
export const byAuthority: Json = {
  name: 'by-authority',
  type: 'ORIGINAL_DST',
  lb_policy: 'CLUSTER_PROVIDED',
  connect_timeout: '2s',
  original_dst_lb_config: { use_http_header: true, http_header_name: ':authority' },
}

/** All of it; the admin server is a socket file, so it is reached from any network namespace. */
export const bootstrap = (admin: string, listeners: readonly Json[], clusters: readonly Json[]): Json => ({
  admin: { address: { pipe: { path: admin, mode: 384 } } },
  static_resources: { listeners, clusters },
})
