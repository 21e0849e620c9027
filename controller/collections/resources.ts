import { createHash } from 'node:crypto'
import { type Collection, derive } from '#kube'
import { Any, addressTypeUrl, authorizationTypeUrl, security, workload } from '#wire'
import { ipFromBytes } from '#base'
import { nameOfPolicy } from './authorization-policy.ts'
import { encodeTargeted, targetedPolicyTypeUrl } from '#policy'
import type { CompiledPolicy } from './authorization-policy.ts'
import type { Settings } from './settings.ts'

/** A resource as it goes over the wire, encoded once for all clients. */
export type MeshResource = Readonly<{
  name: string
  /** Of its content: equal content, equal version, on every replica and after every restart. */
  version: string
  aliases: readonly string[]
  /** What a client may ask for to be given it: its name, its aliases, a Service of the workload, its node. */
  keys: readonly string[]
  any: Any
}>

/** Not a possible name of anything: node names have no colon. */
export const nodeKey = (node: string): string => `node:${node}`

const versionOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex').slice(0, 16)
const equal = (a: MeshResource, b: MeshResource) => a.version === b.version && a.name === b.name

/** Of the same memory. Copied into Node's pool of buffers, a few bytes would keep 8 KiB for as long as the row lives. */
const asBuffer = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength)

/** `network/ip`, the other name of everything that has an address; `network/ip/length` for a block. */
const aliasOf = (network: string, bytes: Uint8Array, length?: number): readonly string[] => {
  const ip = ipFromBytes(bytes)
  return ip === undefined ? [] : [`${network}/${ip}${length === undefined ? '' : `/${length}`}`]
}

export function addressOfWorkload(row: workload.Workload): MeshResource {
  const bytes = workload.Address.encode({ type: { $case: 'workload', value: sorted(row) } }).finish()
  const aliases = row.addresses.flatMap((address) => aliasOf(row.network, address))
  return {
    name: row.uid,
    version: versionOf(bytes),
    aliases,
    keys: [row.uid, ...aliases, ...Object.keys(row.services), nodeKey(row.node)],
    any: { typeUrl: addressTypeUrl, value: asBuffer(bytes) },
  }
}

export function addressOfService(row: workload.Service): MeshResource {
  const bytes = workload.Address.encode({ type: { $case: 'service', value: row } }).finish()
  const name = `${row.namespace}/${row.hostname}`
  const aliases = row.addresses.flatMap(({ network, address, length }) => aliasOf(network, address, length))
  return {
    name,
    version: versionOf(bytes),
    aliases,
    keys: [name, ...aliases],
    any: { typeUrl: addressTypeUrl, value: asBuffer(bytes) },
  }
}

export function authorizationResource(row: security.Authorization): MeshResource {
  const bytes = security.Authorization.encode(row).finish()
  const name = nameOfPolicy(row)
  return {
    name,
    version: versionOf(bytes),
    aliases: [],
    keys: [name],
    any: { typeUrl: authorizationTypeUrl, value: asBuffer(bytes) },
  }
}

/** The policies that waypoints enforce; a target that cannot be read may be anything in reach. */
export const targetedPolicies = (
  compiled: Collection<CompiledPolicy>,
  { rootNamespace }: Pick<Settings, 'rootNamespace'>,
): Collection<MeshResource> =>
  derive(
    'TargetedPolicies',
    compiled,
    ({ key, namespace, targeted, targets }): MeshResource | undefined => {
      if (!targeted) return undefined
      const reach = {
        kind: 'Namespace',
        namespace: namespace === rootNamespace ? '' : namespace,
        name: '',
      } as const
      const readable = targets.filter((target) => target.kind !== 'unreadable')
      const told = readable.length === targets.length ? readable : [...readable, reach]
      const bytes = encodeTargeted(security.Authorization.encode(targeted).finish(), told)
      const any = { typeUrl: targetedPolicyTypeUrl, value: bytes }
      return { name: key, version: versionOf(bytes), aliases: [], keys: [key], any }
    },
    { equal },
  )

/** Maps have no order on the wire; ours are written in that of their keys so that equal rows have equal bytes. */
const sorted = (row: workload.Workload): workload.Workload => ({
  ...row,
  services: Object.fromEntries(Object.entries(row.services).sort(([a], [b]) => (a < b ? -1 : 1))),
})

/** Encodes each row of a collection when it changes, never per client. */
export const encoded = <Row>(
  name: string,
  rows: Collection<Row>,
  encode: (row: Row) => MeshResource,
): Collection<MeshResource> => derive(name, rows, encode, { equal })
