import { Counter, Gauge, type Registry } from '#telemetry'

/** Names as Istio's, where Istio has them. */
export const caMetrics = (registry: Registry) => {
  const registers = [registry]
  return {
    requests: new Counter({ name: 'citadel_server_csr_count', help: 'CSRs received', registers }),
    issued: new Counter({
      name: 'citadel_server_success_cert_issuance_count',
      help: 'Certificates issued',
      registers,
    }),
    unauthenticated: new Counter({
      name: 'citadel_server_authentication_failure_count',
      help: 'Requests refused because of who asked, or for whom',
      registers,
    }),
    unreadable: new Counter({
      name: 'citadel_server_csr_parsing_err_count',
      help: 'CSRs that cannot be read or whose key is not proven',
      registers,
    }),
    failed: new Counter({ name: 'citadel_server_csr_sign_err_count', help: 'Failures to sign', registers }),
    rootExpiry: new Gauge({
      name: 'citadel_server_root_cert_expiry_timestamp',
      help: 'When the root expires, in seconds since 1970',
      registers,
    }),
    refused: new Counter({
      name: 'lateen_impersonation_refused_total',
      help: 'Identities asked for by a node proxy and refused',
      labelNames: ['reason'],
      registers,
    }),
  }
}

export type CaMetrics = ReturnType<typeof caMetrics>
