import { coalesce, MeshError, messageOf } from '#base'
import { type Collection, type KubeClient, kinds, reflect, type Secret } from '#kube'
import type { Fields, Logger } from '#telemetry'
import {
  type Authority,
  authorityFrom,
  pluggedIn,
  readAuthority,
  type RootRules,
  rootRules,
  selfSigned,
  type Where,
} from './authority.ts'
import { disbelief } from './proof.ts'
import { type Change, rotationHints, rotationOf } from './rotation.ts'

/** The authority as its Secret has it now. */
export type LiveAuthority = Readonly<{
  current: () => Authority
  /** Of its root, where that is our own. */
  rules: RootRules
  /** Calls `listener` whenever another one is in force. */
  onChange: (listener: () => void) => Disposable
}>

/** Where the CA's Secret is, and who is told of its changes. */
export type FollowOptions = Readonly<{
  namespace: string
  trustDomain: string
  root?: RootRules
  signal: AbortSignal
  log: Logger
  counted: (outcome: 'adopted' | 'refused' | 'unreadable') => void
}>

const disbelieved = 'no workload would believe a certificate that is signed with it'

/** The authority to begin with; throws MeshError('bad-config') when nobody would believe what it signs. */
export async function openAuthority(client: KubeClient, where: Where): Promise<Authority> {
  const authority = await readAuthority(client, where)
  const why = await disbelief(authority, where.trustDomain)
  if (why === undefined) return authority
  throw new MeshError('bad-config', { message: `Secret ${authority.source}: ${disbelieved}: ${why}` })
}

/** What to do with a Secret that has changed. */
type Judged =
  | Readonly<{ step: 'none'; next: Authority }>
  | Readonly<{ step: 'adopt'; change: Change; next: Authority }>
  | Readonly<{ step: 'refuse'; outcome: 'refused' | 'unreadable'; fields: Fields }>

async function judge(current: Authority, secret: Secret, trustDomain: string): Promise<Judged> {
  let next: Authority
  try {
    next = authorityFrom(secret)
  } catch (error) {
    return { step: 'refuse', outcome: 'unreadable', fields: { error: messageOf(error) } }
  }
  const rotation = rotationOf(current, next)
  if (rotation.step === 'none') return { ...rotation, next }
  const refuse = (reason: string, fields: Fields): Judged => ({
    step: 'refuse',
    outcome: 'refused',
    fields: { secret: next.source, reason, ...fields },
  })
  if (rotation.step === 'refuse') return refuse(rotation.reason, { hint: rotationHints[rotation.reason] })
  const why = await disbelief(next, trustDomain)
  return why === undefined ? { ...rotation, next } : refuse(disbelieved, { why })
}

/**
 * Follows the Secret of `first`, and `cacerts` where that is not yet the one. What cannot be read, would cut the mesh in
 * two or be believed by nobody is not taken over: the last good authority signs on, and the log says what to do. A start
 * takes the Secret as it is.
 */
export function followAuthority(client: KubeClient, first: Authority, o: FollowOptions): LiveAuthority {
  const { log, counted } = o
  const listeners = new Set<() => void>()
  let current = first
  let warned = first.warning
  const consider = async (secret: Secret) => {
    const judged = await judge(current, secret, o.trustDomain)
    if (judged.step === 'refuse') {
      counted(judged.outcome)
      log.error('the CA Secret has changed and cannot be used; the last one stays in use', judged.fields)
      return
    }
    const { next } = judged
    if (next.warning !== undefined && next.warning !== warned)
      log.error('something is wrong with the CA Secret', { secret: next.source, warning: next.warning })
    warned = next.warning
    if (judged.step === 'none') return
    const { change } = judged
    counted('adopted')
    current = next
    const fields = { secret: next.source, change, notAfter: next.notAfter.toISOString() }
    log.info('the CA Secret has changed and is in use', fields)
    for (const listener of listeners) listener()
  }
  followSecrets(client, first, o, (secret) =>
    // The one that was plugged in is never left for the self-signed one.
    secret.metadata.name === pluggedIn || current.source === selfSigned ? consider(secret) : undefined,
  )
  return {
    current: () => current,
    rules: o.root ?? rootRules,
    onChange: (listener) => {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
  }
}

/** Shows each Secret that may hold a CA as it is last, one after the other. */
function followSecrets(
  client: KubeClient,
  first: Authority,
  o: FollowOptions,
  show: (secret: Secret) => Promise<void> | undefined,
): void {
  const waiting = new Map<string, Secret>()
  const look = coalesce(async () => {
    for (const [name, secret] of waiting) {
      waiting.delete(name)
      if (!o.signal.aborted) await show(secret)
    }
  })
  const names = first.source === selfSigned ? [pluggedIn, selfSigned] : [pluggedIn]
  for (const name of names)
    watchSecret(client, name, o).subscribe((changes) => {
      for (const { row } of changes) if (row?.metadata.name === name) waiting.set(name, row)
      void look()
    })
}

/** A Secret that is deleted changes nothing: the key is here, and whoever starts next says that it is missing. */
const watchSecret = (
  client: KubeClient,
  name: string,
  { namespace, signal, log }: FollowOptions,
): Collection<Secret> =>
  reflect(client, kinds.Secret, { namespace, fieldSelector: `metadata.name=${name}`, signal, log })
