import { createHash } from 'node:crypto'
import type { Service } from '#mesh'
import type { UpstreamTls } from '#routes'

/**
 * The name that an upstream's TLS is asked for where its policy gives none: the host that a request is for, as Istio has
 * it (facts: l7.md §2.2), if that is a name of the destination. A client that makes one up gets the destination's own:
 * it neither chooses whose certificate will do, nor makes connections that nobody else uses.
 */
export function tlsName({ hostname }: Pick<Service, 'hostname'>, host: string): string {
  const asked = host.toLowerCase().replace(/\.$/, '')
  if (hostname.startsWith('*.')) return asked.endsWith(hostname.slice(1)) ? asked : ''
  const isShort = /^[^.]+\.[^.]+\.svc\./.test(hostname) && shortNames(hostname).includes(asked)
  return isShort ? asked : hostname
}

/** What a Service is called within its cluster: `web`, `web.demo`, `web.demo.svc`. */
function shortNames(hostname: string): readonly string[] {
  const labels = hostname.split('.', 3)
  return [1, 2, 3].map((count) => labels.slice(0, count).join('.'))
}

const digests = new WeakMap<UpstreamTls, string>()

/** Settings that differ differ in this, so that what was verified by some is not used by others. */
export function tlsDigest(tls: UpstreamTls): string {
  const known = digests.get(tls)
  if (known !== undefined) return known
  const made = createHash('sha256').update(JSON.stringify(tls)).digest('base64url')
  digests.set(tls, made)
  return made
}
