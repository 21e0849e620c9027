import { Resolver } from 'node:dns/promises'
import { abortable, codeOf, type Ip, MeshError, messageOf, parseIp } from '#base'
import type { ResolveRoute } from '../state/index.ts'

type Family = 'ipv4' | 'ipv6'
/** What is known of a name, and for how long. Nothing is an answer too. */
export type HostAnswer = Readonly<{ addresses: readonly Ip[]; ttlMs: number }>
/** Asks for the addresses of one family. */
export type AskHost = (hostname: string, family: Family, signal: AbortSignal) => Promise<HostAnswer>

/** Names in the cache (ztunnel: 4096). */
const maxEntries = 4_096
/** Whatever a server says: no shorter, so that it is not asked for every connection, and no longer. */
const minTtlMs = 1_000
const maxTtlMs = 300_000
/** How long "there is none" is believed. */
const emptyTtlMs = 5_000
/** A lookup, with the resolver's own retries. */
const lookupMs = 5_000
/** Lookups under way; more wait for nothing but a flood of names. */
const maxLookups = 256

type Entry = { readonly answer: Promise<HostAnswer>; until: number }
type Options = Readonly<{
  ask?: AskHost
  /** May we reach IPv6 addresses (IPV6_ENABLED)? */
  ipv6?: boolean
  now?: () => number
}>

/** The addresses of workloads that have a name instead (ztunnel: state.rs resolve_workload_address). */
export class Hosts {
  readonly #ask: AskHost
  readonly #ipv6: boolean
  readonly #now: () => number
  /** In the order in which they were asked. */
  readonly #entries = new Map<string, Entry>()
  #lookups = 0

  constructor({
    ask = (...asked) => askNode(...asked),
    ipv6 = true,
    now = () => performance.now(),
  }: Options = {}) {
    this.#ask = ask
    this.#ipv6 = ipv6
    this.#now = now
  }

  /** One address at random, of the preferred family if it has any; `no-upstream` when there is none. */
  async resolve(
    { hostname, prefer, only }: Pick<ResolveRoute, 'hostname' | 'prefer' | 'only'>,
    random: () => number,
    signal: AbortSignal,
  ): Promise<Ip> {
    const literal = parseIp(hostname)
    if (literal !== undefined) return literal
    const families: readonly Family[] = prefer === 'ipv4' ? ['ipv4', 'ipv6'] : ['ipv6', 'ipv4']
    for (const family of families) {
      if ((only !== undefined && family !== only) || (family === 'ipv6' && !this.#ipv6)) continue
      const { addresses } = await this.#cached(hostname.toLowerCase(), family, signal)
      const address = addresses[Math.floor(random() * addresses.length)]
      if (address !== undefined) return address
    }
    throw new MeshError('no-upstream', { message: `no ip addresses were resolved for ${hostname}` })
  }

  /** Many may wait for one question; each may leave, the question goes on for those that come later. */
  async #cached(hostname: string, family: Family, signal: AbortSignal): Promise<HostAnswer> {
    signal.throwIfAborted()
    const key = `${family} ${hostname}`
    const known = this.#entries.get(key)
    if (known && known.until > this.#now()) return abortable(known.answer, signal)
    if (this.#lookups >= maxLookups)
      throw new MeshError('over-limit', { message: `too many names are being looked up: ${hostname}` })
    this.#lookups++
    const answer = this.#ask(hostname, family, AbortSignal.timeout(lookupMs)).finally(() => this.#lookups--)
    const entry: Entry = { answer, until: Number.POSITIVE_INFINITY }
    this.#entries.delete(key) // the newest last
    this.#entries.set(key, entry)
    answer.then(
      ({ addresses, ttlMs }) => {
        const ttl = addresses.length === 0 ? emptyTtlMs : Math.min(Math.max(ttlMs, minTtlMs), maxTtlMs)
        entry.until = this.#now() + ttl
      },
      () => this.#entries.get(key) === entry && this.#entries.delete(key), // a failure is not remembered
    )
    if (this.#entries.size > maxEntries) this.#dropOldest()
    return abortable(answer, signal)
  }

  #dropOldest(): void {
    for (const key of this.#entries.keys()) return void this.#entries.delete(key)
  }
}

/** As the servers of our own /etc/resolv.conf say. Names are complete: no search list is tried. */
export const askNode = async (
  hostname: string,
  family: Family,
  signal: AbortSignal,
  prepare?: (resolver: Resolver) => void,
): Promise<HostAnswer> => {
  const resolver = new Resolver({ timeout: lookupMs / 2, tries: 2 })
  prepare?.(resolver)
  const cancel = () => resolver.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    const records =
      family === 'ipv4'
        ? await resolver.resolve4(hostname, { ttl: true })
        : await resolver.resolve6(hostname, { ttl: true })
    const addresses = records.map(({ address }) => parseIp(address)).filter((found) => found !== undefined)
    return { addresses, ttlMs: Math.min(...records.map(({ ttl }) => ttl)) * 1_000 }
  } catch (cause) {
    if (nothingThere.has(codeOf(cause) ?? '')) return { addresses: [], ttlMs: 0 }
    throw new MeshError('no-upstream', { message: `${hostname}: ${messageOf(cause)}`, cause })
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}
/** The name is not there, or has no address of the family. */
const nothingThere: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA'])
