import { certificateFacts } from '#identity'
import { Counter, Gauge, type Registry } from '#telemetry'
import type { Authority } from './authority.ts'

/** Ends of certificates, as a date and as what is left, under Istio's names; read when they are asked for. */
export function showExpiry(registry: Registry, authority: () => Authority): void {
  const end = (pem: string) => certificateFacts(pem).notAfter.getTime() / 1000
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value())
      },
    })
  for (const [part, what, pemOf] of [
    ['root_cert', 'root', ({ anchorPem }: Authority) => anchorPem],
    ['cert_chain', 'certificate that signs', ({ issuer }: Authority) => issuer.certPem],
  ] as const) {
    const at = () => end(pemOf(authority()))
    gauge(`citadel_server_${part}_expiry_timestamp`, `When the ${what} expires, in seconds since 1970`, at)
    gauge(
      `citadel_server_${part}_expiry_seconds`,
      `Seconds until the ${what} expires`,
      () => at() - Date.now() / 1000,
    )
  }
}

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
    unnamed: new Counter({
      name: 'citadel_server_id_extraction_err_count',
      help: 'Requests for an identity that is none',
      registers,
    }),
    refused: new Counter({
      name: 'lateen_impersonation_refused_total',
      help: 'Identities asked for by a node proxy and refused',
      labelNames: ['reason'],
      registers,
    }),
    reloads: new Counter({
      name: 'lateen_ca_reloads_total',
      help: 'Changes of the CA Secret, by what became of them',
      labelNames: ['outcome'],
      registers,
    }),
  }
}

/** What is counted of signing and of the CA. */
export type CaMetrics = ReturnType<typeof caMetrics>
