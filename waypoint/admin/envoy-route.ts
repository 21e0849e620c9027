import type {
  Cors,
  Destination,
  Fault,
  HeaderOps,
  HttpAction,
  HttpRule,
  Redirect,
  RetryPolicy,
} from '#routes'
import { envoyMatch, regexOf } from './envoy-match.ts'

// Our model of routes as Envoy has it, for tools that read Envoy's dumps. A real Envoy obeys what comes of it
// (test/conformance/parity).

/** A part of Envoy's configuration, as its JSON has it. */
export type Json = Readonly<Record<string, unknown>>

export const typed = (type: string, fields: Json = {}): Json => ({
  '@type': `type.googleapis.com/envoy.${type}`,
  ...fields,
})
export const seconds = (ms: number): string => `${ms / 1_000}s`

/** What Envoy would call a destination. */
type ClusterName = (to: Destination) => string

/** One rule as a route. `origin` is told as Istio's proxies tell where a route comes from. */
export function envoyRoute(rule: HttpRule, nameOf: ClusterName): Json {
  const { name, match, action, fault, cors, requestHeaders, responseHeaders, origin } = rule
  const [namespace = '', object = ''] = origin.name.split('/')
  const kind = origin.kind.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase()
  return {
    name,
    match: envoyMatch(match),
    metadata: {
      filter_metadata: {
        istio: { config: `/apis/${groups[origin.kind] ?? 'v1'}/namespaces/${namespace}/${kind}/${object}` },
      },
    },
    ...headerFields('request', requestHeaders),
    ...headerFields('response', responseHeaders),
    typed_per_filter_config: {
      ...(fault ? { 'envoy.filters.http.fault': faultOf(fault) } : {}),
      ...(cors ? { 'envoy.filters.http.cors': corsOf(cors) } : {}),
    },
    ...actionOf(action, nameOf),
  }
}

const networking = 'networking.istio.io/v1'
const groups: Readonly<Record<string, string>> = {
  VirtualService: networking,
  ServiceEntry: networking,
  DestinationRule: networking,
  HTTPRoute: 'gateway.networking.k8s.io/v1',
  GRPCRoute: 'gateway.networking.k8s.io/v1',
}

function actionOf(action: HttpAction, nameOf: ClusterName): Json {
  switch (action.kind) {
    case 'redirect':
      return { redirect: redirectOf(action) }
    case 'respond': {
      const body = action.body === undefined ? {} : { body: { inline_bytes: action.body } }
      return { direct_response: { status: action.status, ...body } }
    }
    case 'not-found':
      return { direct_response: { status: 404 } }
    case 'forward':
      return forwardOf(action, nameOf)
  }
}

/** Where a share goes that nobody serves. */
const nobody = 'BlackHoleCluster'

function forwardOf(
  { destinations, rewrite, timeoutMs, retry, mirrors }: Extract<HttpAction, { kind: 'forward' }>,
  nameOf: ClusterName,
): Json {
  const clusters = destinations.map(({ weight, to }) => ({
    weight,
    name: to.kind === 'service' ? nameOf(to) : nobody,
  }))
  // Istio: a rule whose weights are all nothing answers by itself.
  if (clusters.every(({ weight }) => weight === 0)) return { direct_response: { status: 500 } }
  const path = rewrite?.path
  return {
    route: {
      ...(clusters.length === 1 ? { cluster: clusters[0]?.name } : { weighted_clusters: { clusters } }),
      timeout: seconds(timeoutMs),
      // Istio: a deadline of gRPC counts, up to the route's timeout.
      max_grpc_timeout: seconds(timeoutMs),
      retry_policy: retryOf(retry),
      ...(rewrite?.authority === undefined ? {} : { host_rewrite_literal: rewrite.authority }),
      ...(path?.kind === 'prefix' ? { prefix_rewrite: path.value } : {}),
      ...(path?.kind === 'full'
        ? { regex_rewrite: { pattern: regexOf('.*'), substitution: path.value } }
        : {}),
      ...(path?.kind === 'regex'
        ? { regex_rewrite: { pattern: regexOf(path.pattern), substitution: path.substitution } }
        : {}),
      request_mirror_policies: mirrors.flatMap(({ to, ppm }) =>
        to.kind === 'service'
          ? [{ cluster: nameOf(to), runtime_fraction: { default_value: percent(ppm) } }]
          : [],
      ),
    },
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
