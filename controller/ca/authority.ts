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

/** The key that signs, and the chain from it to what everybody trusts. Printing one shows no key. */
export type Authority = Readonly<{
  /** The Secret that it is in. */
  source: string
  issuer: Issuer
  /** Between leaf and root, signer first; empty when the root itself signs. */
  intermediates: readonly string[]
  /** One or more roots in one PEM: what `istio-ca-root-cert` holds. */
  rootPem: string
  /** The root that the issuer leads to. */
  anchorPem: string
  /** When the first certificate on the way from issuer to anchor ends. */
  notAfter: Date
  /** Revocation lists to be published; undefined when the Secret has none that can be read. */
  crlPem: string | undefined
  /** What is wrong with the Secret although it can be used. */
  warning: string | undefined
}>

/** How a self-signed root lives: for how long, and how often it is looked at whether the last part of that has begun. */
export type RootRules = Readonly<{ lifetimeMs: number; checkMs: number; renewalPart: number }>
/** Of a workload's certificate: unless it asks, and at most. */
export type Lifetimes = Readonly<{ defaultMs: number; maxMs: number }>

const yearMs = 365 * 24 * 3600_000
/** Istio's own; a renewal in the last fifth leaves the mesh two years to have it. */
export const rootRules: RootRules = { lifetimeMs: 10 * yearMs, checkMs: 3600_000, renewalPart: 0.2 }
/** For clocks that differ; Istio back-dates as much. */
export const backdateMs = 120_000
const minLifetimeMs = 60_000
const dayMs = 24 * 3600_000
const workloadLifetimes: Lifetimes = { defaultMs: dayMs, maxMs: dayMs }

export const selfSigned = 'istio-ca-secret'
export const pluggedIn = 'cacerts'
/** A ConfigMap holds 1 MiB; the list is published in one. */
const maxCrlChars = 900_000
/** From issuer to root; longer chains are refused by peers. */
const maxDepth = 8

export type Where = Readonly<{
  namespace: string
  trustDomain: string
  root?: RootRules
  signal: AbortSignal
  log: Logger
}>

/** The plugged-in CA if there is one, else the mesh's own root: adopted when it exists, made when it does not. */
export async function readAuthority(client: KubeClient, where: Where): Promise<Authority> {
  const { namespace, signal, log } = where
  const find = (name: string) => client.find({ kind: kinds.Secret, namespace, name }, signal)
  const plugged = await find(pluggedIn)
  if (plugged) {
    const authority = authorityFrom(plugged)
    const { warning } = authority
    log.info('using the plugged-in CA', { secret: pluggedIn, ...(warning ? { warning } : {}) })
    return authority
  }
  const existing = await find(selfSigned)
  if (existing) return authorityFrom(existing)
  const created = await createOrAdopt(client, where)
  return authorityFrom(created)
}

/** Replicas that start together all try; the API server lets one create, the others take what it made. */
async function createOrAdopt(
  client: KubeClient,
  { namespace, trustDomain, root: rules = rootRules, signal, log }: Where,
): Promise<Secret> {
  const root = createRoot({
    organization: trustDomain,
    validityMs: rules.lifetimeMs,
    now: new Date(Date.now() - backdateMs),
  })
  const secret: Secret = {
    metadata: { name: selfSigned, namespace },
    type: 'istio.io/ca-root',
    data: selfSignedParts(root),
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

const encode = (text: string) => Buffer.from(text).toString('base64')

/** What Istio, too, finds in the Secret of a self-signed root. */
export const selfSignedParts = ({ certPem, keyPem }: Issuer): Readonly<Record<string, string>> => ({
  'ca-cert.pem': encode(certPem),
  'ca-key.pem': encode(keyPem),
  'root-cert.pem': encode(certPem),
  'cert-chain.pem': '',
  'key.pem': '',
})

/** Reads a CA Secret; throws MeshError('bad-config') naming what is wrong with it, never its content. */
export function authorityFrom(secret: Secret): Authority {
  const source = secret.metadata.name ?? ''
  const bad = (what: string) => new MeshError('bad-config', { message: `Secret ${source}: ${what}` })
  const read = (...keys: readonly string[]) =>
    Buffer.from(keys.map((key) => secret.data?.[key]).find(Boolean) ?? '', 'base64').toString('utf8')
  const certs = splitPem(read('ca-cert.pem', 'tls.crt'))
  const keyPem = read('ca-key.pem', 'tls.key')
  const [certPem] = certs
  if (certPem === undefined || keyPem === '') throw bad('ca-cert.pem and ca-key.pem are needed')
  const given = splitPem(read('root-cert.pem', 'ca.crt'))
  const roots = given.length > 0 ? given : [certPem]
  const rootPem = roots.join('')
  const chain = [...new Set([...certs, ...splitPem(read('cert-chain.pem'))])]
  const problem = issuerProblem(certPem, keyPem)
  if (problem !== undefined) throw bad(problem)
  const path = pathToRoot(certPem, chain, roots)
  if (path === undefined) throw bad('ca-cert.pem does not lead to a certificate in root-cert.pem')
  const notAfter = new Date(Math.min(...path.map((pem) => certificateFacts(pem).notAfter.getTime())))
  if (notAfter.getTime() < Date.now()) throw bad(`expired at ${notAfter.toISOString()}`)
  const crlPem = secret.data?.['ca-crl.pem'] === undefined ? undefined : read('ca-crl.pem')
  const isCrlBad = crlPem !== undefined && !isCrl(crlPem)
  return {
    source,
    // Not enumerable: an authority that ends up in a log line or a dump by mistake takes no key there.
    issuer: Object.defineProperty({ certPem, keyPem }, 'keyPem', { enumerable: false }),
    intermediates: chain.filter((pem) => !rootPem.includes(pem)),
    rootPem,
    anchorPem: path.at(-1) ?? certPem,
    notAfter,
    crlPem: isCrlBad ? undefined : crlPem,
    warning: isCrlBad
      ? 'ca-crl.pem holds something else than X509 CRL blocks; it is not published'
      : undefined,
  }
}

function issuerProblem(certPem: string, keyPem: string): string | undefined {
  let key: KeyObject
  try {
    key = createPrivateKey(keyPem)
  } catch {
    return 'ca-key.pem is not a private key'
  }
  try {
    const certificate = new X509Certificate(certPem)
    if (!certificate.ca) return 'ca-cert.pem is not a CA certificate'
    return certificate.publicKey.equals(createPublicKey(key))
      ? undefined
      : 'ca-key.pem does not belong to ca-cert.pem'
  } catch {
    return 'ca-cert.pem cannot be read'
  }
}

const signs = (ca: X509Certificate, certificate: X509Certificate) =>
  ca.ca && certificate.checkIssued(ca) && certificate.verify(ca.publicKey)

/** From issuer to root, both included; undefined when there is no way. */
function pathToRoot(
  certPem: string,
  chain: readonly string[],
  roots: readonly string[],
): readonly string[] | undefined {
  const path = [certPem]
  try {
    for (let pem = certPem; path.length <= maxDepth; path.push(pem)) {
      const certificate = new X509Certificate(pem)
      const isRoot = roots.some((root) => new X509Certificate(root).raw.equals(certificate.raw))
      if (isRoot) return path
      const issues = (other: string) =>
        !path.includes(other) && signs(new X509Certificate(other), certificate)
      const next = roots.find(issues) ?? chain.find(issues)
      if (next === undefined) return undefined
      pem = next
    }
  } catch {
    return undefined // one of them is no certificate
  }
  return undefined
}

/** Text between the blocks is a comment, as in other PEM; half a block is not. */
function isCrl(pem: string): boolean {
  if (pem.length > maxCrlChars) return false
  const rest = pem.replace(/-----BEGIN X509 CRL-----[A-Za-z0-9+/=\s]+-----END X509 CRL-----/g, '')
  return !rest.includes('-----') && (rest !== pem || pem.trim() === '')
}

type SignOptions = Readonly<{ lifetimes?: Lifetimes; now?: number }>

/** A certificate for a workload, as the certificate service answers: leaf, intermediates, roots last. */
export function signWorkload(
  { issuer, intermediates, rootPem, notAfter }: Authority,
  id: SpiffeId,
  publicKey: KeyObject,
  askedMs: number,
  { lifetimes: { defaultMs, maxMs } = workloadLifetimes, now = Date.now() }: SignOptions = {},
): readonly string[] {
  mustLive(notAfter, now)
  const lifetime = Math.min(Math.max(askedMs > 0 ? askedMs : defaultMs, minLifetimeMs), maxMs)
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
  mustLive(notAfter, now)
  const end = new Date(Math.min(now + dayMs, notAfter.getTime()))
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

/** Of an issuer that has ended nobody would believe a certificate. */
function mustLive(notAfter: Date, now: number): void {
  if (notAfter.getTime() <= now)
    throw new MeshError('identity-unavailable', {
      message: `the CA's own certificate ended at ${notAfter.toISOString()}; renew it`,
    })
}
