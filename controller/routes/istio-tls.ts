import type { TlsClient, TlsTrust, UpstreamTls } from '#routes'
import { booleanOf, type Field, itemsOf, partsOf, problem, textOf, wordOf } from './gateway-api-fields.ts'
import { given, type Notes } from './istio-fields.ts'

/** `mesh`: as the mesh has it anyway. */
export type ReadTls = UpstreamTls | Readonly<{ mode: 'mesh' }>

/** What cannot be read or done is closed: nobody is trusted then. */
export function readTls(field: Field, notes: Notes): ReadTls {
  const own: Field = { ...field, problems: [] }
  const tls = tlsOf(own, notes)
  if (own.problems.length === 0) return tls
  field.problems.push(...own.problems)
  const reason = own.problems.join('; ')
  return { mode: 'simple', subjectAltNames: [], trust: { kind: 'none', reason }, insecureSkipVerify: false }
}

function tlsOf(field: Field, { remarks }: Notes): ReadTls {
  const parts = partsOf(field, [
    'mode',
    'clientCertificate',
    'privateKey',
    'caCertificates',
    'caCrl',
    'credentialName',
    'subjectAltNames',
    'sni',
    'insecureSkipVerify',
  ])
  const mode = wordOf(parts?.mode, ['DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL']) ?? 'DISABLE'
  if (mode === 'DISABLE' || mode === 'ISTIO_MUTUAL') return { mode: 'mesh' }
  const text = (one: Field | undefined) => textOf(one) || undefined
  const [secret, file] = [text(parts?.credentialName), text(parts?.caCertificates)]
  if (secret !== undefined)
    remarks.push(
      `${field.path}.credentialName: keys of Secrets do not reach waypoints, which refuse the connection; mount files instead`,
    )
  const trust: TlsTrust =
    secret !== undefined
      ? { kind: 'secret', name: secret }
      : file === undefined || file === 'system'
        ? { kind: 'system' }
        : { kind: 'file', path: file }
  return {
    mode: mode === 'MUTUAL' ? 'mutual' : 'simple',
    subjectAltNames: (parts ? itemsOf(parts.subjectAltNames) : []).flatMap((item) => text(item) ?? []),
    trust,
    insecureSkipVerify: booleanOf(parts?.insecureSkipVerify) ?? false,
    ...given({
      sni: text(parts?.sni),
      revocations: text(parts?.caCrl),
      client:
        mode === 'MUTUAL'
          ? clientOf(field, secret, text(parts?.clientCertificate), text(parts?.privateKey))
          : undefined,
    }),
  }
}

function clientOf(
  field: Field,
  secret: string | undefined,
  certificate: string | undefined,
  key: string | undefined,
): TlsClient | undefined {
  if (secret !== undefined) return { kind: 'secret', name: secret }
  if (certificate === undefined || key === undefined)
    return problem(field, 'MUTUAL needs clientCertificate and privateKey, or credentialName')
  return { kind: 'files', certificate, key }
}
