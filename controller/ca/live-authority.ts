import { messageOf } from '#base'
import { type Collection, type KubeClient, kinds, reflect, type Secret } from '#kube'
import type { Logger } from '#telemetry'
import {
  type Authority,
  authorityFrom,
  pluggedIn,
  type RootRules,
  rootRules,
  selfSigned,
} from './authority.ts'
import { rotationHints, rotationOf } from './rotation.ts'

/** The authority as its Secret has it now. */
export type LiveAuthority = Readonly<{
  current: () => Authority
  /** Of its root, where that is our own. */
  rules: RootRules
  /** Calls `listener` whenever another one is in force. */
  onChange: (listener: () => void) => Disposable
}>

export type FollowOptions = Readonly<{
  namespace: string
  root?: RootRules
  signal: AbortSignal
  log: Logger
  counted: (outcome: 'adopted' | 'refused' | 'unreadable') => void
}>

/**
 * Follows the Secret of `first`, and `cacerts` where that is not yet the one. What cannot be read or would cut the mesh in
 * two is not taken over: the last good authority signs on, and the log says what to do. A start takes the Secret as it is.
 */
export function followAuthority(client: KubeClient, first: Authority, o: FollowOptions): LiveAuthority {
  const { log, counted } = o
  const listeners = new Set<() => void>()
  let current = first
  const consider = (secret: Secret) => {
    let next: Authority
    try {
      next = authorityFrom(secret)
    } catch (error) {
      counted('unreadable')
      return log.error('the CA Secret has changed and cannot be used; the last one stays in use', {
        error: messageOf(error),
      })
    }
    if (next.warning !== undefined && next.warning !== current.warning)
      log.error('something is wrong with the CA Secret', { secret: next.source, warning: next.warning })
    const rotation = rotationOf(current, next)
    if (rotation.step === 'none') return
    const fields = { secret: next.source }
    if (rotation.step === 'refuse') {
      counted('refused')
      const { reason } = rotation
      return log.error('the CA Secret has changed and is not used; the last one stays in use', {
        ...fields,
        reason,
        hint: rotationHints[reason],
      })
    }
    counted('adopted')
    current = next
    log.info('the CA Secret has changed and is in use', {
      ...fields,
      change: rotation.change,
      notAfter: next.notAfter.toISOString(),
    })
    for (const listener of listeners) listener()
  }
  const follow = (name: string) =>
    watchSecret(client, name, o).subscribe((changes) => {
      for (const { row } of changes) {
        // The one that was plugged in is never left for the self-signed one.
        const counts = name === pluggedIn || current.source === selfSigned
        if (row?.metadata.name === name && counts) consider(row)
      }
    })
  follow(pluggedIn)
  if (first.source === selfSigned) follow(selfSigned)
  return {
    current: () => current,
    rules: o.root ?? rootRules,
    onChange: (listener) => {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
  }
}

/** A Secret that is deleted changes nothing: the key is here, and whoever starts next says that it is missing. */
const watchSecret = (
  client: KubeClient,
  name: string,
  { namespace, signal, log }: FollowOptions,
): Collection<Secret> =>
  reflect(client, kinds.Secret, { namespace, fieldSelector: `metadata.name=${name}`, signal, log })
