/** What differs on purpose: `paths` of what is compared, all of which must differ. */
type Deviation = Readonly<{ paths: readonly string[]; why: string }>

const reason: Deviation = {
  paths: ['log.response_code_details'],
  why: 'why a connection failed is told in our words',
}
const casing = (logged = true): Deviation => ({
  paths: ['seen.0.url', ...(logged ? ['log.path'] : [])],
  why: 'escapes are sent in capitals (RFC 3986 §6.2.2.1): one spelling for one path, and policies are judged by it',
})
const te: Deviation = {
  paths: ['seen.0.headers.connection'],
  why: 'who sends TE says so in Connection (RFC 9110 §10.1.4)',
}
const timeoutRetry = (n = 1): Deviation => ({
  paths: [`seen.${n}.headers.x-envoy-is-timeout-retry`],
  why: 'Envoy says it where it is configured to; we always do',
})
const internal = (tries: number): Deviation => ({
  paths: Array.from({ length: tries }, (_, n) => `seen.${n}.headers.x-envoy-internal`),
  why: 'Envoy trusts an address that a client gives; we say nothing of the kind',
})
const ownStatus: Deviation = {
  paths: ['got.headers.x-code'],
  why: 'the status of an answer of our own is known when its headers are made; Envoy says 0',
}
const unread = ['log.method', 'log.path']
/** Of a request that only one of the two sends on. */
const ofUpstream = [
  'log.attempts',
  'log.response_ms',
  'log.response_tx_ms',
  'log.service_ms',
  'log.upstream_cluster',
  'log.upstream_host',
  'log.upstream_protocol',
]
/** The end of a WebSocket. */
const tunnel: readonly Deviation[] = [
  { paths: ['seen.0.headers.connection'], why: 'the capitals of a token' },
  {
    paths: ['log.response_flags', 'log.response_code_details', 'log.response_tx_ms'],
    why: 'a tunnel that its upstream has ended is not a broken one',
  },
]
const closes: Deviation = {
  paths: ['got.headers.connection'],
  why: 'what is left of the request is read and dropped, and the connection goes on',
}

const noChunks: Deviation = {
  paths: ['got.headers.transfer-encoding'],
  why: 'an answer to HEAD has no chunks',
}

const bySegments: Deviation = {
  paths: ['seen.0.url'],
  why: 'a prefix of whole segments is replaced without doubling the slash (Istio has an expression for it)',
}

/** By case. */
export const deviations: Readonly<Record<string, readonly Deviation[]>> = {
  'values-answered': [
    {
      paths: ['got.headers.x-path'],
      why: 'the path is told as it was judged, before it was rewritten, as in logs',
    },
  ],
  'values-failed': [ownStatus],
  'values-redirected': [ownStatus],
  'no-route-post': [closes],
  dead: [reason],
  'dead-retried': [reason],
  'closed-kept': [
    {
      paths: ['seen.1'],
      why: 'a safe request that comes to a kept connection as that ends is sent once more (RFC 9110 §9.2.2)',
    },
  ],
  'h2-grpc-dead': [
    reason,
    { paths: ['log.bytes_received'], why: 'a body is not read before there is somebody to send it to' },
  ],
  'retry-reset-dead': [reason],
  'retry-before-dead': [reason],
  'retry-5xx-dead': [reason],
  'retry-none-dead': [reason],
  'per-try-5xx': [timeoutRetry()],
  'per-try-then-ok': [timeoutRetry()],
  'per-try-and-route': [timeoutRetry()],
  'asked-timeout': [internal(1)],
  'alt-timeout': [internal(1)],
  'retry-asked': [internal(2)],
  'retry-asked-none': [
    internal(1),
    { paths: ['log.response_flags'], why: 'who asks for no retries has not run out of them' },
  ],
  'retry-asked-codes': [internal(2)],
  'retry-asked-nothing-set': [internal(2)],
  'retry-asked-max-only': [internal(4)],
  'retry-asked-header': [internal(1)],
  'no-host': [{ paths: unread, why: 'a head with a fault is not looked at' }],
  'two-hosts': [
    {
      paths: [
        'got.status',
        'got.headers.connection',
        'got.headers.content-length',
        'got.headers.content-type',
        'got.headers.x-envoy-upstream-service-time',
        'got.body',
        ...unread,
        ...ofUpstream,
        'log.authority',
        'log.response_code',
        'log.response_flags',
        'log.response_code_details',
        'log.bytes_sent',
        'log.route_name',
        'log.request_id',
      ],
      why: 'two Host fields are refused: two readers could choose different ones',
    },
  ],
  'length-and-chunks': [{ paths: ['log.response_code_details'], why: 'one word for what breaks framing' }],
  'bad-chunk': [{ paths: ['log.bytes_sent'], why: 'the answer is the connection’s, not the request’s' }],
  'upgrade-odd': [
    closes,
    {
      paths: ['log.route_name', 'log.upstream_cluster'],
      why: 'refused before a route is looked for',
    },
  ],
  'hop-by-hop': [
    te,
    {
      paths: ['seen.0.headers.x-hop'],
      why: 'Connection takes nothing away that others rely on (CVE-2024-45410)',
    },
  ],
  te: [te],
  'trailers-h1-te': [te],
  'options-star': [{ paths: ['log.request_id'], why: 'every request has an id' }],
  forged: [
    {
      paths: [
        'seen.0.headers.x-envoy-decorator-operation',
        'seen.0.headers.x-envoy-is-timeout-retry',
        'seen.0.headers.x-envoy-original-host',
        'seen.0.headers.x-envoy-original-path',
        'seen.0.headers.x-envoy-peer-metadata',
      ],
      why: 'what only a proxy of the mesh may say is taken from every client',
    },
    {
      paths: ['seen.0.headers.x-envoy-force-trace', 'seen.0.headers.x-envoy-ip-tags'],
      why: 'callers are of the mesh, and Envoy takes these from strangers at its edge',
    },
  ],
  path2: [casing()],
  path3: [casing()],
  path15: [casing()],
  path17: [casing()],
  path11: [closes, { paths: ['log.request_id'], why: 'every request has an id' }],
  path13: [
    {
      paths: [
        'got.headers.content-length',
        'got.headers.content-type',
        'got.body',
        ...unread,
        'log.authority',
        'log.response_flags',
        'log.response_code_details',
        'log.bytes_sent',
      ],
      why: 'a fragment is refused where the head is read',
    },
  ],
  websocket: tunnel,
  'ws-timeout': tunnel,
  'ws-refused': [closes, reason],
  'slow-upload-dead': [
    closes,
    reason,
    { paths: ['log.bytes_received'], why: 'a body is not read before there is somebody to send it to' },
  ],
  'slow-upload-early': [closes],
  'retry-headers': [internal(2)],
  'retry-headers-two': [internal(2)],
  'retry-headers-none': [internal(1)],
  'retry-headers-only': [internal(1)],
  'asked-both': [internal(1)],
  'asked-zero': [internal(1)],
  'asked-odd': [internal(1)],
  'asked-grpc-on': [internal(2)],
  'asked-spaces': [internal(2)],
  'asked-max-odd': [internal(2)],
  'asked-codes-only': [internal(1)],
  'asked-hedge': [internal(1)],
  'grpc-overflow': [te],
  'retry-head': [noChunks],
  'retry-continue': [
    {
      paths: [
        'got.body',
        'got.headers.content-length',
        'got.interim.1',
        'got.status',
        'seen.1',
        'log.attempts',
        'log.bytes_sent',
        'log.response_code',
      ],
      why: 'an interim answer is none: Envoy tries no more once it has passed one on',
    },
  ],
  'delay-dead': [reason],
  'retry-per-try-body': [timeoutRetry()],
  'h2-trailers': [{ paths: ['log.grpc_trailer'], why: 'of trailers those of gRPC are kept' }],
  'header-match': [
    {
      paths: [
        'got.body',
        'got.headers.content-length',
        'got.headers.x-envoy-upstream-service-time',
        'got.status',
        ...ofUpstream,
        'log.bytes_sent',
        'log.response_code',
        'log.response_code_details',
        'log.response_flags',
        'log.route_name',
        'seen.0',
      ],
      why: 'values of one name are one list (Gateway API: joined by commas); Envoy 1.40 tries each by itself',
    },
  ],
  'retry-reset-late': [timeoutRetry()],
  'retry-asked-per-try': [timeoutRetry(), internal(2)],
  'rw-b': [bySegments],
  'rw-c': [bySegments],
  'respond-grpc-400': [closes],
  'continue-refused': [closes],
  head: [noChunks],
  'h2-to-h1-trailers': [{ paths: ['got.trailers'], why: 'trailers are passed on to who can read them' }],
  'cors-options1': [{ paths: ['seen.0.headers.content-length'], why: 'no body needs no length' }],
}
