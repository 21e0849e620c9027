import { isDeepStrictEqual } from 'node:util'
import { type Cidr, cidrContains, type Ip, ipFromBytes, isRecord, parseIp, sleep } from '#base'
import { type Change, type Collection, type Custom, isStatus, type KubeClient, kinds, workQueue } from '#kube'
import type { Logger } from '#telemetry'
import { isOlder, type ServiceEntry } from '../collections/index.ts'
import type { Writer } from './lead.ts'
import { type Vip, VipRange, type VipRanges, vipsFor } from './vip-pool.ts'
import { writeStatus } from './write-status.ts'

type VipWriterOptions = Readonly<{
  client: KubeClient
  objects: Collection<Custom>
  entries: Collection<ServiceEntry>
  /** Namespaces that somebody else looks after. */
  hidden: Collection<true>
  ranges: VipRanges
  /** Which objects are ours to write to; all that is known counts as taken. */
  scope?: (object: Custom) => boolean
  log: Logger
}>

/**
 * Gives every host of a ServiceEntry without addresses one of each family, in the entry's status. All that is known is
 * read from there, so that a new leader goes on where the last one ended. Addresses that users wrote beat ours, and of
 * two entries that got the same one (by two leaders in a row) the older keeps it.
 */
export const vipWriter =
  (options: VipWriterOptions): Writer =>
  async (signal) => {
    const { client, objects, entries, hidden, scope = () => true, log } = options
    const ranges = [new VipRange(options.ranges.v4), new VipRange(options.ranges.v6)]
    const rights = rightsOf(entries, ranges)
    const attempt = async (key: string, stop: AbortSignal) => {
      const [object, entry] = [objects.get(key), entries.get(key)]
      if (!object || !entry || object.metadata.deletionTimestamp !== undefined) return
      if (!scope(object) || hidden.get(entry.namespace) !== undefined) return
      const has = addressesIn(object.status)
      const others = has.filter(({ value }) => !isOurs(value, ranges))
      const wanted = [...others, ...vipsFor(entry.allocated, entry.vips, ranges, rights.of(entry))]
      if (isDeepStrictEqual(has, wanted)) return
      rights.expect(key, wanted)
      const how = { client, kind: kinds.ServiceEntry, fieldManager: 'istio-ip-autoallocate', signal: stop }
      await writeStatus(object, { addresses: wanted }, how)
    }
    const reconcile = async (key: string, stop: AbortSignal) => {
      for (let tries = 1; ; tries++) {
        try {
          return await attempt(key, stop)
        } catch (error) {
          if (!isStatus(error, 409) || tries >= maxConflicts) throw error
          await sleep(tries * conflictMs, stop)
        }
      }
    }
    await using queue = workQueue({ name: 'ServiceEntry addresses', signal, log, reconcile })
    using _entries = entries.subscribe((changes) => {
      for (const change of changes) for (const key of rights.concerned(change)) queue.add(key)
    })
    using _hidden = hidden.subscribe(() => {
      for (const { key } of entries.list()) queue.add(key)
    })
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  }

/** A new entry gets its conditions at the same moment, so that losing a race is no failure: what won is seen shortly after. */
const maxConflicts = 5
const conflictMs = 50

/** Who has which address, and who may. */
function rightsOf(entries: Collection<ServiceEntry>, ranges: readonly VipRange[]) {
  const isBlock = ({ bytes, length }: Cidr) =>
    length < bytes.length * 8 && ranges.some((range) => range.overlaps({ bytes, length }))
  const holders = entries.indexBy(addressesOf)
  const blocks = entries.indexBy((entry) => (entry.addresses.some(isBlock) ? [anyBlock] : []))
  /** Written, and not yet seen on the watch. */
  const expected = new Map<string, readonly string[]>()
  const pending = new Map<string, string>()
  const forget = (key: string) => {
    for (const value of expected.get(key) ?? []) if (pending.get(value) === key) pending.delete(value)
    expected.delete(key)
  }
  const othersOf = (address: Ip, entry: ServiceEntry) =>
    holders.lookup(address).filter(({ key }) => key !== entry.key)
  const isUsers = (address: Ip, entry: ServiceEntry) =>
    [...othersOf(address, entry), ...blocks.lookup(anyBlock)].some(({ addresses }) =>
      addresses.some((block) => cidrContains(block, address)),
    )
  return {
    of: (entry: ServiceEntry) => ({
      mayKeep: (address: Ip) =>
        !isUsers(address, entry) && !othersOf(address, entry).some((other) => isOlder(other, entry)),
      isFree: (address: Ip) =>
        holders.lookup(address).length === 0 && !pending.has(address) && !isUsers(address, entry),
    }),
    expect: (key: string, vips: readonly Vip[]) => {
      forget(key)
      expected.set(
        key,
        vips.map(({ value }) => value),
      )
      for (const { value } of vips) pending.set(value, key)
    },
    /** Whom a change concerns: the entry, and those that have an address of its in common with it. */
    concerned: ({ key, old, row }: Change<ServiceEntry>): readonly string[] => {
      const seen = row?.vips.map(({ address }) => address)
      if (!seen || expected.get(key)?.every((value) => seen.some((address) => address === value))) forget(key)
      if (row?.addresses.some(isBlock)) return entries.list().map((entry) => entry.key)
      const shared = [old, row].flatMap((entry) => (entry ? addressesOf(entry) : []))
      return [key, ...shared.flatMap((address) => holders.lookup(address).map((entry) => entry.key))]
    },
  }
}

const anyBlock = 'block'
const isOurs = (value: string, ranges: readonly VipRange[]): boolean => {
  const address = parseIp(value)
  return address !== undefined && ranges.some((range) => range.holds(address))
}

/** All single addresses that an entry has, its own and those that were given to it. */
const addressesOf = ({ addresses, vips }: ServiceEntry): readonly string[] => [
  ...addresses.flatMap(({ bytes, length }) =>
    length === bytes.length * 8 ? [ipFromBytes(bytes) ?? ''] : [],
  ),
  ...vips.map(({ address }) => address),
]

/** What the status says, in its order; what cannot be read is left out, and so taken away by the next write. */
function addressesIn(status: unknown): readonly Vip[] {
  const list: unknown = isRecord(status) ? status['addresses'] : undefined
  return (Array.isArray(list) ? list : []).flatMap((item: unknown) => {
    const { value, host } = isRecord(item) ? item : {}
    return typeof value === 'string' ? [typeof host === 'string' ? { value, host } : { value }] : []
  })
}
