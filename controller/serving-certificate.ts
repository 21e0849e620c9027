import { MeshError, messageOf, sleep } from '#base'
import { generateKeyPair, privateKeyPem } from '#identity'
import type { Logger } from '#telemetry'
import { type LiveAuthority, servingCertificate } from './ca/index.ts'
import type { Config } from './config.ts'
import { RenewableCredentials } from './grpc.ts'

/** Our own TLS: a new key and certificate at half-life, and whenever the authority is another. */
export function servingCredentials(
  authority: LiveAuthority,
  config: Config,
  signal: AbortSignal,
  log: Logger,
): RenewableCredentials {
  const first = ownCertificate(authority, config)
  const credentials = new RenewableCredentials(first)
  let { notAfter } = first
  const renew = () => {
    try {
      const next = ownCertificate(authority, config)
      credentials.renew(next)
      ;({ notAfter } = next)
      log.info('serving certificate renewed', { notAfter: notAfter.toISOString() })
    } catch (error) {
      log.error('serving certificate not renewed', {
        error: messageOf(new MeshError('identity-unavailable', { cause: error })),
      })
    }
  }
  const changes = authority.onChange(renew)
  const atHalfLife = async () => {
    while (!signal.aborted) {
      await sleep(Math.max(1_000, (notAfter.getTime() - Date.now()) / 2), signal).catch(() => undefined)
      if (!signal.aborted) renew()
    }
    changes[Symbol.dispose]()
  }
  void atHalfLife()
  return credentials
}

function ownCertificate(authority: LiveAuthority, config: Config) {
  const keys = generateKeyPair()
  const names = { dns: ownNames(config) }
  const { chainPem, notAfter } = servingCertificate(authority.current(), keys.publicKey, names)
  return { keyPem: privateKeyPem(keys.privateKey), chainPem, notAfter }
}

/** Every name by which clients know the Service (facts: Istio's own list), that of a revision among them. */
export const ownNames = ({
  namespace,
  domain,
  customHosts,
  revision,
}: Pick<Config, 'namespace' | 'domain' | 'customHosts' | 'revision'>): readonly string[] => [
  ...['istiod', ...(revision === 'default' ? [] : [`istiod-${revision}`])].flatMap((service) => [
    `${service}.${namespace}.svc`,
    `${service}.${namespace}.svc.${domain}`,
    `${service}.${namespace}`,
  ]),
  `istiod-remote.${namespace}.svc`,
  `istio-pilot.${namespace}.svc`,
  ...customHosts,
]
