import type { LoadBalancer } from '#routes'
import { xxhash64 } from './xxhash64.ts'

type HashKeys = Extract<LoadBalancer, { kind: 'ring-hash' | 'maglev' }>['keys']

/** What of a request may be hashed. */
type Hashed = Readonly<{
  /** All values of a header as one. */
  header(name: string): string | undefined
  query(name: string): string | undefined
  cookie(name: string): string | undefined
  sourceIp: string
  /** The client has no such cookie and is to get one; returns its value, or nothing where it cannot be told. */
  makeCookie(key: Extract<HashKeys[number], { kind: 'cookie' }>): string | undefined
}>

const mask = (1n << 64n) - 1n
const rotate = (x: bigint) => ((x << 1n) | (x >> 63n)) & mask

/** The hash of all keys that are there, as Envoy combines them; undefined when none is. */
export function hashOf(balancer: LoadBalancer, of: Hashed): bigint | undefined {
  if (balancer.kind !== 'ring-hash' && balancer.kind !== 'maglev') return undefined
  let hash: bigint | undefined
  for (const key of balancer.keys) {
    const value = valueOf(key, of)
    if (value !== undefined) hash = hash === undefined ? xxhash64(value) : rotate(hash) ^ xxhash64(value)
  }
  return hash
}

function valueOf(key: HashKeys[number], of: Hashed): string | undefined {
  switch (key.kind) {
    case 'header':
      return of.header(key.name)
    case 'query':
      return of.query(key.name)
    case 'source-ip':
      return of.sourceIp
    case 'cookie':
      return of.cookie(key.name) ?? (key.ttlMs === undefined ? undefined : of.makeCookie(key))
  }
}
