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

/** Certificates that a peer may send after its leaf; real chains have one or two. */
const maxSent = 10
/** What a hostile chain may cost us, in signatures that are checked. */
const maxChecks = 32

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

/** What the peer sent after its leaf, in no order that could be relied on; undefined when it is too much. */
function sentWith(leaf: X509Certificate): readonly Named[] | undefined {
  const found: Named[] = []
  let count = 0
  for (let next = leaf.issuerCertificate; next; next = next.issuerCertificate) {
    if (++count > maxSent) return undefined
    const one = named(next)
    if (one) found.push(one)
    if (next.issuerCertificate === next) break
  }
  return found
}

type Search = { readonly anchors: readonly Named[]; readonly sent: readonly Named[]; checks: number }

/**
 * The links from `here` to a root, each by signature: a peer may send forged neighbours of its true intermediate, with
 * the same name and key, whose serial number nobody has revoked.
 */
function follow(here: Named, search: Search, trail: readonly Named[]): readonly Link[] | undefined {
  const { anchors, sent } = search
  const isIssuer = (other: Named) => here.certificate.checkIssued(other.certificate)
  const ours = anchors.filter(isIssuer)
  const theirs = sent.filter((other) => !trail.includes(other) && isIssuer(other))
  // TLS has checked the leaf; where it can only be by this root there is nothing left to find out.
  const isPlain = trail.length === 0 && theirs.length === 0 && ours.length === 1
  for (const issuer of [...ours, ...theirs]) {
    if (!isPlain && !isSigned(here, issuer, search)) continue
    const link = { serial: here.serial, issuerName: issuer.subject, issuerKey: issuer.key }
    if (ours.includes(issuer)) return [link]
    const rest = follow(issuer, search, [...trail, here, issuer])
    if (rest) return [link, ...rest]
  }
  return undefined
}

/** A stray certificate may have a key that nobody can read. */
function isSigned(one: Named, by: Named, search: Search): boolean {
  if (--search.checks < 0) return false
  try {
    return one.certificate.verify(by.certificate.publicKey)
  } catch {
    return false
  }
}

/** The chain of a leaf that TLS has verified with the roots of `own`. */
export function chainOf(leaf: X509Certificate, own: WorkloadCertificate): Chain {
  const here = named(leaf)
  const sent = sentWith(leaf)
  const search = sent && { anchors: rootsOf(own), sent, checks: maxChecks }
  const links = here && search && follow(here, search, [])
  return links ? { links, complete: true } : { links: [], complete: false }
}

/** Does `own` still believe in the root that a chain ends in? A root that was signed anew with its key is the same. */
export function isAnchored({ links, complete }: Chain, own: WorkloadCertificate): boolean {
  const last = links.at(-1)
  return (
    complete &&
    rootsOf(own).some(({ subject, key }) => subject === last?.issuerName && key === last.issuerKey)
  )
}
