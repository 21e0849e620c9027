import { readFileSync, statSync } from 'node:fs'
import { codeOf, messageOf } from '#base'
import type { Logger } from '#telemetry'
import type { Chain, Link } from './chain.ts'
import { type Crl, isSignedByCa, parseCrls } from './crl.ts'
import { watchFile } from './file-watch.ts'
import type { IdentityMetrics } from './metrics.ts'

/** The certificates that their CAs have taken back. */
export type Revocations = Readonly<{
  /** Is any certificate of a verified chain revoked? One whose CA has published nothing is not (ztunnel: unknown status is allowed). */
  isRevoked(chain: Chain): boolean
  /** Calls `listener` when another list has come into force. */
  onChange(listener: () => void): Disposable
}>

/** Where the lists are, and how often they are looked for. */
export type RevocationsOptions = Readonly<{
  path: string
  log: Pick<Logger, 'info' | 'warn'>
  metrics?: Pick<IdentityMetrics, 'crlFailed'>
  signal: AbortSignal
  debounceMs?: number
  pollMs?: number
}>

/** About 100 000 entries. A ConfigMap, where the file usually comes from, holds a quarter of it. */
const maxFileBytes = 4 << 20
/** CAs that chains really end in; they come from verified chains only. */
const maxIssuers = 1_024

/** Which lists are in force for each CA, which may divide what it has to say. A list counts only if that CA has signed it. */
export class RevocationLists {
  #lists: readonly Crl[] = []
  readonly #inForce = new Map<string, readonly Crl[]>()

  isRevoked({ links }: Chain): boolean {
    return links.some((link) => this.#listsOf(link).some(({ revoked }) => revoked.has(link.serial)))
  }

  get entries(): number {
    return this.#lists.reduce((sum, { revoked }) => sum + revoked.size, 0)
  }

  /**
   * Takes the lists of a new file. Where a CA's lists were in force and none of the new ones bears the CA's signature,
   * the old ones stay; the number of such CAs is returned. Where the file has no list of that CA any more, none is in force.
   */
  replace(lists: readonly Crl[]): number {
    this.#lists = lists
    let kept = 0
    for (const [issuer, old] of this.#inForce) {
      const [name = '', key = ''] = split(issuer)
      const next = this.#find(name, key)
      const isForged = next.length === 0 && lists.some(({ issuerName }) => issuerName === name)
      if (isForged && old.length > 0) kept++
      else this.#inForce.set(issuer, next)
    }
    return kept
  }

  #listsOf({ issuerName, issuerKey }: Link): readonly Crl[] {
    const issuer = join(issuerName, issuerKey)
    const known = this.#inForce.get(issuer)
    if (known) return known
    const found = this.#find(issuerName, issuerKey)
    if (this.#inForce.size < maxIssuers) this.#inForce.set(issuer, found)
    return found
  }

  #find = (name: string, key: string) =>
    this.#lists.filter((list) => list.issuerName === name && isSignedByCa(list, key))
}

/** A key is base64 and has no blank. */
const join = (name: string, key: string) => `${key} ${name}`
const split = (issuer: string): readonly string[] => {
  const at = issuer.indexOf(' ')
  return [issuer.slice(at + 1), issuer.slice(0, at)]
}

type Read = { kind: 'lists'; lists: readonly Crl[] } | { kind: 'missing' } | { kind: 'bad'; reason: string }

function read(path: string): Read {
  try {
    if (statSync(path).size > maxFileBytes) return { kind: 'bad', reason: 'file too long' }
    const lists = parseCrls(readFileSync(path))
    return 'reject' in lists ? { kind: 'bad', reason: lists.reject } : { kind: 'lists', lists }
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? { kind: 'missing' } : { kind: 'bad', reason: messageOf(error) }
  }
}

/** Follows the revocation lists in a file. What cannot be read leaves the last good lists in force. */
export function watchCrl(o: RevocationsOptions): Revocations {
  const { path, log, metrics, signal } = o
  const lists = new RevocationLists()
  const listeners = new Set<() => void>()
  let empties = 0
  let wasThere = false
  const failed = (reason: string, isAlarm = true) => {
    if (isAlarm) metrics?.crlFailed()
    log.warn('certificate revocation list not loaded, the last good one stays', { path, error: reason })
  }
  const load = () => {
    const found = read(path)
    // Where a mesh has never published any, nothing is wrong: the manifests name the file on every node.
    if (found.kind === 'missing') return failed('no such file', wasThere)
    if (found.kind === 'bad') return failed(found.reason)
    wasThere = true
    // Whoever rewrites a file in place empties it first: nothing is believed only if it stays that way.
    empties = found.lists.length === 0 && lists.entries > 0 ? empties + 1 : 0
    if (empties === 1) return void setTimeout(reload, o.debounceMs ?? confirmMs).unref()
    const kept = lists.replace(found.lists)
    if (kept > 0) failed(`${kept} without their CA's signature`)
    log.info('certificate revocation lists loaded', {
      path,
      lists: found.lists.length,
      entries: lists.entries,
    })
  }
  const reload = () => {
    if (signal.aborted) return
    load()
    for (const listener of listeners) listener()
  }
  load()
  watchFile({ ...o, changed: reload })
  return {
    isRevoked: (chain) => lists.isRevoked(chain),
    onChange: (listener) => {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
  }
}

const confirmMs = 2_000
