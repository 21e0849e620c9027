import { X509Certificate } from 'node:crypto'
import { readSequence, tags } from './der.ts'
import { canonicalName } from './distinguished-name.ts'
import type { WorkloadCertificate } from './workload-certificate.ts'

/** One certificate of a verified chain, as a revocation list would name it. */
export type Link = Readonly<{
  /** Hex without leading zeros. */
  serial: string
  issuerName: string
  /** SubjectPublicKeyInfo of the issuer, base64. */
  issuerKey: string
}>

/** The way from a leaf to a root that we believe in; `complete` is false when we could not follow it to its end. */
export type Chain = Readonly<{ links: readonly Link[]; complete: boolean }>

type Named = Readonly<{
  certificate: X509Certificate
  serial: string
  subject: string
  key: string
}>

/** More is not a chain (OpenSSL has verified it already; this bounds our own walk). */
const maxLinks = 10

/** The integer from `start` to `end` as a `Link` has it. */
export function serialAt(bytes: Buffer, start: number, end: number): string {
  let from = start
  while (from < end - 1 && bytes[from] === 0) from++
  return bytes.toString('hex', from, end)
}

function named(certificate: X509Certificate): Named | undefined {
  const tbs = readSequence(certificate.raw)?.[0]
  const all = tbs && readSequence(tbs.raw)
  const fields = all?.[0]?.tag === 0xa0 ? all.slice(1) : all
  const [serial, , , , subject, key] = fields ?? []
  const name = subject && canonicalName(subject.raw)
  if (serial?.tag !== tags.integer || name === undefined || key === undefined) return undefined
  return {
    certificate,
    serial: serialAt(serial.value, 0, serial.value.length),
    subject: name,
    key: key.raw.toString('base64'),
  }
}

const isNamed = (one: Named | undefined): one is Named => one !== undefined

/** Parsed once per certificate of ours, not per connection. */
const roots = new WeakMap<WorkloadCertificate, readonly Named[]>()

function rootsOf(own: WorkloadCertificate): readonly Named[] {
  const known = roots.get(own)
  if (known) return known
  const parsed = own.rootsPem.map((pem) => named(new X509Certificate(pem))).filter(isNamed)
  roots.set(own, parsed)
  return parsed
}

/** What the peer sent after its leaf, in no order that could be relied on. */
function presented(leaf: X509Certificate): readonly Named[] {
  const found: Named[] = []
  for (let next = leaf.issuerCertificate; next && found.length < maxLinks; next = next.issuerCertificate) {
    const one = named(next)
    if (one) found.push(one)
    if (next.issuerCertificate === next) break
  }
  return found
}

const sameKey = (a: Named, b: Named) => a.key === b.key && a.subject === b.subject

/** The issuer of `one`: a root if possible, as OpenSSL prefers it; by signature where names do not decide. */
function issuerAmong(one: Named, candidates: readonly Named[]): Named | undefined {
  const fitting = candidates.filter((other) => one.certificate.checkIssued(other.certificate))
  const [only] = fitting
  if (fitting.every((other) => only && sameKey(only, other))) return only
  return fitting.find((other) => isSignedBy(one.certificate, other.certificate))
}

/** A stray certificate may have a key that nobody can read. */
function isSignedBy(one: X509Certificate, by: X509Certificate): boolean {
  try {
    return one.verify(by.publicKey)
  } catch {
    return false
  }
}

/** The chain of a leaf that TLS has verified with the roots of `own`. */
export function chainOf(leaf: X509Certificate, own: WorkloadCertificate): Chain {
  const anchors = rootsOf(own)
  const candidates = [...anchors, ...presented(leaf)]
  const links: Link[] = []
  let here = named(leaf)
  while (here && links.length < maxLinks) {
    const issuer = issuerAmong(here, candidates)
    if (!issuer) break
    links.push({ serial: here.serial, issuerName: issuer.subject, issuerKey: issuer.key })
    if (anchors.includes(issuer)) return { links, complete: true }
    here = issuer
  }
  return { links, complete: false }
}

/** Does `own` still believe in the root that a chain ends in? A root that was signed anew with its key is the same. */
export function isAnchored({ links, complete }: Chain, own: WorkloadCertificate): boolean {
  const last = links.at(-1)
  return (
    complete &&
    rootsOf(own).some(({ subject, key }) => subject === last?.issuerName && key === last.issuerKey)
  )
}
