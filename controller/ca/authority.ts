import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import { MeshError } from '#base'
import {
  certificateFacts,
  createRoot,
  issueCertificate,
  type Issuer,
  type SpiffeId,
  splitPem,
} from '#identity'
import { isStatus, type KubeClient, kinds, type Secret } from '#kube'
import type { Logger } from '#telemetry'

/** The key that signs, and the chain from it to what everybody trusts. */
export type Authority = Readonly<{
  issuer: Issuer
  /** Between leaf and root, signer first; empty when the root itself signs. */
  intermediates: readonly string[]
  /** One or more roots in one PEM: what `istio-ca-root-cert` holds. */
  rootPem: string
  notAfter: Date
}>

const yearMs = 365 * 24 * 3600_000
/** Istio's self-signed root lives as long. */
const rootLifetimeMs = 10 * yearMs
/** For clocks that differ; Istio back-dates as much. */
const backdateMs = 120_000
export const minLifetimeMs = 60_000
export const maxLifetimeMs = 24 * 3600_000

const selfSigned = 'istio-ca-secret'
const pluggedIn = 'cacerts'

type Where = Readonly<{ namespace: string; trustDomain: string; signal: AbortSignal; log: Logger }>

/** The plugged-in CA if there is one, else the mesh's own root: adopted when it exists, made when it does not. */
export async function openAuthority(client: KubeClient, where: Where): Promise<Authority> {
  const { namespace, signal, log } = where
  const find = (name: string) => client.find({ kind: kinds.Secret, namespace, name }, signal)
  const plugged = await find(pluggedIn)
  if (plugged) {
    log.info('using the plugged-in CA', { secret: pluggedIn })
    return authorityFrom(plugged)
  }
  const existing = await find(selfSigned)
  if (existing) return authorityFrom(existing)
  const created = await createOrAdopt(client, where)
  return authorityFrom(created)
}

/** Replicas that start together all try; the API server lets one create, the others take what it made. */
async function createOrAdopt(
  client: KubeClient,
  { namespace, trustDomain, signal, log }: Where,
): Promise<Secret> {
  const root = createRoot({
    organization: trustDomain,
    validityMs: rootLifetimeMs,
    now: new Date(Date.now() - backdateMs),
  })
  const encode = (text: string) => Buffer.from(text).toString('base64')
  const secret: Secret = {
    metadata: { name: selfSigned, namespace },
    type: 'istio.io/ca-root',
    data: {
      'ca-cert.pem': encode(root.certPem),
      'ca-key.pem': encode(root.keyPem),
      'root-cert.pem': encode(root.certPem),
      'cert-chain.pem': '',
      'key.pem': '',
    },
  }
  try {
    const created = await client.create(kinds.Secret, secret, { signal })
    log.info('made a self-signed root', { secret: selfSigned })
    return created
  } catch (error) {
    if (!isStatus(error, 409)) throw error
    log.info('another replica was first; using its root', { secret: selfSigned })
    return client.get({ kind: kinds.Secret, namespace, name: selfSigned }, signal)
  }
}

/** Reads a CA Secret; throws MeshError('bad-config') naming what is wrong with it, never its content. */
export function authorityFrom(secret: Secret): Authority {
  const name = secret.metadata.name ?? ''
  const bad = (what: string, cause?: unknown) =>
    new MeshError('bad-config', {
      message: `Secret ${name}: ${what}`,
      ...(cause === undefined ? {} : { cause }),
    })
  const read = (...keys: readonly string[]) =>
    Buffer.from(keys.map((key) => secret.data?.[key]).find(Boolean) ?? '', 'base64').toString('utf8')
  const certs = splitPem(read('ca-cert.pem', 'tls.crt'))
  const keyPem = read('ca-key.pem', 'tls.key')
  const [certPem] = certs
  if (certPem === undefined || keyPem === '') throw bad('ca-cert.pem and ca-key.pem are needed')
  const roots = splitPem(read('root-cert.pem', 'ca.crt'))
  const rootPem = (roots.length > 0 ? roots : [certPem]).join('')
  let key: KeyObject
  try {
    key = createPrivateKey(keyPem)
  } catch {
    throw bad('ca-key.pem is not a private key')
  }
  const certificate = new X509Certificate(certPem)
  if (!certificate.ca) throw bad('ca-cert.pem is not a CA certificate')
  if (!certificate.publicKey.equals(createPublicKey(key)))
    throw bad('ca-key.pem does not belong to ca-cert.pem')
  const { notAfter } = certificateFacts(certPem)
  if (notAfter.getTime() < Date.now()) throw bad(`expired at ${notAfter.toISOString()}`)
  const chain = [certPem, ...splitPem(read('cert-chain.pem'))]
  const intermediates = [...new Set(chain)].filter((pem) => !rootPem.includes(pem))
  return { issuer: { certPem, keyPem }, intermediates, rootPem, notAfter }
}

/** A certificate for a workload, as the certificate service answers: leaf, intermediates, roots last. */
export function signWorkload(
  { issuer, intermediates, rootPem, notAfter }: Authority,
  id: SpiffeId,
  publicKey: KeyObject,
  lifetimeMs: number,
  now = Date.now(),
): readonly string[] {
  const asked = lifetimeMs > 0 ? lifetimeMs : maxLifetimeMs
  const lifetime = Math.min(Math.max(asked, minLifetimeMs), maxLifetimeMs)
  const leaf = issueCertificate({
    issuer,
    publicKey,
    uris: [id],
    notBefore: new Date(now - backdateMs),
    notAfter: new Date(Math.min(now + lifetime, notAfter.getTime())),
    usages: ['serverAuth', 'clientAuth'],
  })
  return [leaf, ...intermediates, rootPem]
}

/** What istiod itself shows to its clients, who know the root from `istio-ca-root-cert`. */
export function servingCertificate(
  { issuer, intermediates, notAfter }: Authority,
  publicKey: KeyObject,
  names: Readonly<{ dns: readonly string[]; ips?: readonly string[] }>,
  now = Date.now(),
): Readonly<{ chainPem: string; notAfter: Date }> {
  const end = new Date(Math.min(now + maxLifetimeMs, notAfter.getTime()))
  const leaf = issueCertificate({
    issuer,
    publicKey,
    dnsNames: names.dns,
    ipAddresses: names.ips ?? [],
    notBefore: new Date(now - backdateMs),
    notAfter: end,
    usages: ['serverAuth', 'clientAuth'],
  })
  return { chainPem: [leaf, ...intermediates].join(''), notAfter: end }
}
