import { generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRoot, generateKeyPair, issueCertificate } from '#identity'
import type { SandboxConfig } from '../../config.ts'

const dayMs = 86_400_000
const rootValidityMs = 3650 * dayMs
const leafValidityMs = 365 * dayMs
/** A leaf with less than this left is made anew at the next start. */
const renewBeforeMs = 30 * dayMs
/** Tolerates a client's clock that is behind. */
const backdateMs = 5 * 60_000

/** A certificate file and its key file. */
export type CertificateFiles = Readonly<{ certificate: string; key: string }>
/** Where the cluster's keys and certificates are. */
export type PkiFiles = Readonly<{
  ca: CertificateFiles
  apiServer: CertificateFiles
  admin: CertificateFiles
  controllers: CertificateFiles
  scheduler: CertificateFiles
  node(name: string): CertificateFiles
  /** Signs service-account tokens (PKCS 8 PEM). */
  serviceAccountKey: string
}>

/** The files that `createPki` keeps. */
export function pkiFiles({ pkiDir }: SandboxConfig): PkiFiles {
  const pair = (name: string): CertificateFiles => ({
    certificate: `${pkiDir}/${name}.crt`,
    key: `${pkiDir}/${name}.key`,
  })
  return {
    ca: pair('ca'),
    apiServer: pair('apiserver'),
    admin: pair('admin'),
    controllers: pair('controllers'),
    scheduler: pair('scheduler'),
    node: (name) => pair(name),
    serviceAccountKey: `${pkiDir}/sa.key`,
  }
}

/** Whoever reads the file sees all of it or none. */
export function writePrivate(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** Makes what is missing or about to expire of the cluster's CA, certificates and token key; keeps the rest. */
export function createPki(config: SandboxConfig, now = new Date()): void {
  mkdirSync(config.pkiDir, { recursive: true, mode: 0o700 })
  const files = pkiFiles(config)
  const rootIsNew = createCa(files.ca, now)
  const issuer = read(files.ca)
  const leaf = (at: CertificateFiles, subject: LeafSubject) => {
    if (rootIsNew || !usable(at.certificate, subject, now)) createLeaf(at, subject, issuer, now)
  }
  leaf(files.apiServer, apiServerSubject(config))
  leaf(files.admin, client('kubernetes-admin', 'system:masters'))
  leaf(files.controllers, client('system:kube-controller-manager'))
  leaf(files.scheduler, client('system:kube-scheduler'))
  for (const { name } of config.nodes) leaf(files.node(name), client(`system:node:${name}`, 'system:nodes'))
  if (!existsSync(files.serviceAccountKey)) writePrivate(files.serviceAccountKey, pkcs8(rsaKey()))
}

type LeafSubject = Readonly<{
  commonName: string
  organizations?: string[]
  dnsNames?: string[]
  ipAddresses?: string[]
  usages: ('serverAuth' | 'clientAuth')[]
}>

const client = (commonName: string, organization?: string): LeafSubject => ({
  commonName,
  ...(organization !== undefined && { organizations: [organization] }),
  usages: ['clientAuth'],
})

const apiServerSubject = ({ fabric, apiServiceIp, clusterDomain }: SandboxConfig): LeafSubject => ({
  commonName: 'kube-apiserver',
  dnsNames: [
    'localhost',
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    `kubernetes.default.svc.${clusterDomain}`,
  ],
  ipAddresses: ['127.0.0.1', '::1', fabric.apiIpv4, fabric.apiIpv6, apiServiceIp],
  usages: ['serverAuth'],
})

const rsaKey = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const pkcs8 = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

const read = ({ certificate, key }: CertificateFiles) => ({
  certPem: readFileSync(certificate, 'utf8'),
  keyPem: readFileSync(key, 'utf8'),
})

/** True when a new root was made: everything it signed must be made anew. */
function createCa(at: CertificateFiles, now: Date): boolean {
  if (existsSync(at.certificate) && existsSync(at.key)) return false
  const root = createRoot({ organization: 'kubernetes', validityMs: rootValidityMs, now })
  writePrivate(at.key, root.keyPem)
  writePrivate(at.certificate, root.certPem)
  return true
}

function createLeaf(
  at: CertificateFiles,
  subject: LeafSubject,
  issuer: { certPem: string; keyPem: string },
  now: Date,
): void {
  const { privateKey, publicKey } = generateKeyPair()
  const pem = issueCertificate({
    issuer,
    publicKey,
    ...subject,
    notBefore: new Date(now.getTime() - backdateMs),
    notAfter: new Date(now.getTime() + leafValidityMs),
  })
  writePrivate(at.key, pkcs8(privateKey))
  writePrivate(at.certificate, pem)
}

function usable(path: string, { dnsNames = [], ipAddresses = [] }: LeafSubject, now: Date): boolean {
  try {
    const certificate = new X509Certificate(readFileSync(path))
    return (
      certificate.validToDate.getTime() - now.getTime() > renewBeforeMs &&
      dnsNames.every((name) => certificate.checkHost(name)) &&
      ipAddresses.every((address) => certificate.checkIP(address))
    )
  } catch {
    return false // missing, cut off or garbage: made anew
  }
}
