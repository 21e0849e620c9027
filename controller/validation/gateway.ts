import { isRecord } from '#base'
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
  oneOf,
  recordAt,
  refuse,
  required,
  shown,
  text,
  warn,
} from './check.ts'
import { address, labels, port, scopedHost } from './formats.ts'

const protocols = ['HTTP', 'HTTPS', 'HTTP2', 'GRPC', 'GRPC-WEB', 'MONGO', 'TCP', 'TLS']
const secure = ['HTTPS', 'TLS']
const protocol: Check = (value, at) =>
  oneOf(...protocols)(typeof value === 'string' ? value.toUpperCase() : value, at)

const versions = ['TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3']
export const serverTls: Check = fields(
  {
    httpsRedirect: bool,
    mode: oneOf('PASSTHROUGH', 'SIMPLE', 'MUTUAL', 'AUTO_PASSTHROUGH', 'ISTIO_MUTUAL', 'OPTIONAL_MUTUAL'),
    serverCertificate: text,
    privateKey: text,
    caCertificates: text,
    caCrl: text,
    credentialName: text,
    credentialNames: list(filled, { most: 2 }),
    caCertCredentialName: text,
    tlsCertificates: list(fields({ serverCertificate: filled, privateKey: filled, caCertificates: text }), {
      most: 2,
    }),
    subjectAltNames: list(filled),
    verifyCertificateSpki: list(filled),
    verifyCertificateHash: list(filled),
    minProtocolVersion: oneOf(...versions),
    maxProtocolVersion: oneOf(...versions),
    cipherSuites: list(filled),
    insecureSkipVerify: bool,
  },
  (value, at) => {
    const [least, most] = [value['minProtocolVersion'], value['maxProtocolVersion']].map((one) =>
      versions.indexOf(String(one)),
    )
    if (least !== undefined && most !== undefined && most > 0 && least > most)
      refuse(into(at, 'minProtocolVersion'), 'is above maxProtocolVersion')
    credentials(value, at)
  },
)

const given = (value: Fields, name: string): boolean =>
  isThere(value[name]) &&
  value[name] !== '' &&
  !(Array.isArray(value[name]) && listAt(value, name).length === 0)

function credentials(value: Fields, at: At): void {
  const { mode } = value
  if (mode !== 'SIMPLE' && mode !== 'MUTUAL' && mode !== 'OPTIONAL_MUTUAL') return
  if (['credentialName', 'credentialNames', 'tlsCertificates'].some((name) => given(value, name))) return
  for (const name of ['serverCertificate', 'privateKey', ...(mode === 'SIMPLE' ? [] : ['caCertificates'])])
    if (!given(value, name)) refuse(into(at, name), `is needed for ${mode}, or credentialName`)
}

const server = fields(
  {
    port: fields({ number: port, protocol, name: filled, targetPort: port }, (value, at) =>
      required(value, at, 'number', 'protocol', 'name'),
    ),
    bind: address,
    hosts: list(scopedHost({ needed: false, scopes: ['*', '.'] }), { least: 1 }),
    tls: serverTls,
    defaultEndpoint: text,
    name: text,
  },
  (value, at) => {
    required(value, at, 'port', 'hosts')
    const named = recordAt(value, 'port')['protocol']
    const used = typeof named === 'string' ? named.toUpperCase() : ''
    const tls = isRecord(value['tls']) ? value['tls'] : undefined
    if (secure.includes(used) && tls === undefined) refuse(into(at, 'tls'), `is needed for ${used}`)
    if (secure.includes(used) && tls?.['httpsRedirect'] === true)
      refuse(into(into(at, 'tls'), 'httpsRedirect'), 'is for HTTP, where there is something to redirect')
    if (used !== '' && !secure.includes(used) && tls !== undefined && tls['httpsRedirect'] !== true)
      refuse(into(at, 'tls'), `means nothing for ${used}; HTTPS and TLS have it`)
  },
)

/** Istio's own Gateway, not that of the Gateway API. */
export const gateway: Check = fields(
  { selector: labels, servers: list(server, { least: 1 }) },
  (value, at) => {
    required(value, at, 'servers')
    const names = listAt(value, 'servers').map((one) =>
      isRecord(one) ? recordAt(one, 'port')['name'] : undefined,
    )
    for (const [n, name] of names.entries())
      if (name !== undefined && names.indexOf(name) < n)
        refuse(into(into(into(at, 'servers'), n), 'port'), `the name ${shown(name)} is there twice`)
    warn(at, 'no gateway of this mesh reads it; use a Gateway of gateway.networking.k8s.io')
  },
)
