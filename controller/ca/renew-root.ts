import { sleep } from '#base'
import { certificateFacts, renewRoot } from '#identity'
import { isStatus, type KubeClient, kinds } from '#kube'
import type { Logger } from '#telemetry'
import {
  type Authority,
  backdateMs,
  type RootRules,
  rootRules,
  selfSigned,
  selfSignedParts,
} from './authority.ts'
import type { LiveAuthority } from './live-authority.ts'

/** Is it time to renew this root? Never for one that somebody else has made: he must. */
export function isRenewalDue(
  { source, issuer }: Authority,
  now: number,
  { renewalPart }: RootRules = rootRules,
): boolean {
  if (source !== selfSigned) return false
  const { notBefore, notAfter } = certificateFacts(issuer.certPem)
  const lifeMs = notAfter.getTime() - notBefore.getTime()
  return notAfter.getTime() - now < lifeMs * renewalPart
}

/** What is renewed, and by whom. */
export type RenewRootOptions = Readonly<{
  client: KubeClient
  namespace: string
  authority: LiveAuthority
  log: Logger
}>

/** Renews the self-signed root before its end, under the same key; all replicas then read it from the Secret. */
export const rootRenewer =
  ({ client, namespace, authority, log }: RenewRootOptions) =>
  async (signal: AbortSignal): Promise<void> => {
    const { rules } = authority
    while (!signal.aborted) {
      if (isRenewalDue(authority.current(), Date.now(), rules))
        await renew(client, namespace, authority, signal).then(
          (isNew) => isNew && log.info('self-signed root renewed under the same key', { secret: selfSigned }),
        )
      await sleep(rules.checkMs, signal).catch(() => undefined)
    }
  }

/** False when somebody else has changed the Secret meanwhile; what is then there will be looked at again. */
async function renew(
  client: KubeClient,
  namespace: string,
  { current, rules }: LiveAuthority,
  signal: AbortSignal,
): Promise<boolean> {
  const secret = await client.get({ kind: kinds.Secret, namespace, name: selfSigned }, signal)
  const now = new Date(Date.now() - backdateMs)
  const root = renewRoot(current().issuer, { validityMs: rules.lifetimeMs, now })
  try {
    await client.update(kinds.Secret, { ...secret, data: { ...selfSignedParts(root) } }, { signal })
    return true
  } catch (error) {
    if (isStatus(error, 409)) return false
    throw error
  }
}
