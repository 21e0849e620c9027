import type { WorkloadCertificate } from './workload-certificate.ts'

/** The renewal is spread over this part of a lifetime before its half. */
const jitter = 0.1
/** A CA that gives its certificates this little time is asked no faster. */
const fastestRefreshMs = 1_000
/** Nor more often than this part of a lifetime: a certificate that looks old when it comes shows a wrong clock. */
const leastPart = 0.05

type Validity = Pick<WorkloadCertificate, 'notBefore' | 'notAfter'>

const lifeOf = ({ notBefore, notAfter }: Validity) => notAfter.getTime() - notBefore.getTime()

/**
 * How long until a certificate is renewed: to half of its life, spread over a tenth of it, so that a node's identities
 * are not renewed all at once. Never longer than half a life from now, whatever our clock says: by the clock of the CA
 * the certificate lives already.
 */
export function refreshInMs(certificate: Validity, now: number, random: () => number): number {
  const life = lifeOf(certificate)
  const spread = life * jitter * random()
  const until = certificate.notBefore.getTime() + life / 2 - spread - now
  const left = certificate.notAfter.getTime() - now
  const least = Math.max(fastestRefreshMs, Math.min(life * leastPart, left / 2))
  return Math.max(least, Math.min(until, life / 2 - spread))
}

/** Below this part of its life a certificate that has not been renewed is an alarm. */
const alarmPart = 0.25

export const isLate = (certificate: Validity, now: number): boolean =>
  certificate.notAfter.getTime() - now < lifeOf(certificate) * alarmPart

/** By how much our clock differs at least from the one of the CA that has just made this; 0 when nothing shows. */
export function skewMs({ notBefore, notAfter }: Validity, now: number): number {
  if (notBefore.getTime() > now) return notBefore.getTime() - now
  return Math.min(0, notAfter.getTime() - now)
}

/** What a skew means, in words. */
export const describeSkew = (ms: number): string =>
  `our clock is at least ${Math.round(Math.abs(ms) / 1_000)} s ${ms > 0 ? 'behind' : 'ahead of'} the CA's`
