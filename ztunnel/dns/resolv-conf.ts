import { readFileSync, statSync } from 'node:fs'
import { parseIp, type SocketAddress } from '#base'

const dnsPort = 53
/** As many as the C library asks. */
const maxNameservers = 3
/** A kubelet writes some hundred bytes. */
const maxBytes = 65_536

/** Whom a node's own resolver asks. */
export type ResolvConf = Readonly<{ nameservers: readonly SocketAddress[]; search: readonly string[] }>

/** What resolv.conf(5) says; lines that mean nothing here are left out, a later `search` replaces an earlier one. */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: SocketAddress[] = []
  let search: readonly string[] = []
  for (const line of text.split('\n')) {
    const [word, ...rest] = line.trim().split(/\s+/)
    const address = word === 'nameserver' ? parseIp(rest[0] ?? '') : undefined
    if (address !== undefined) nameservers.push({ address, port: dnsPort })
    if (word === 'search' || word === 'domain')
      search = rest.map((domain) => domain.toLowerCase().replace(/\.$/, '')).filter((domain) => domain !== '')
  }
  return { nameservers: nameservers.slice(0, maxNameservers), search }
}

/** Reads the file again when it has changed, looking at most once a second. A file that cannot be read says nothing new. */
export function followResolvConf(
  path: string,
  now: () => number = () => performance.now(),
): () => ResolvConf {
  let held: ResolvConf = { nameservers: [], search: [] }
  let looked = -Infinity
  let seen = ''
  return () => {
    if (now() - looked < 1_000) return held
    looked = now()
    try {
      const { mtimeMs, size, ino } = statSync(path)
      const version = `${mtimeMs} ${size} ${ino}`
      if (version !== seen && size <= maxBytes) held = parseResolvConf(readFileSync(path, 'utf8'))
      seen = version
    } catch {
      // kept: a moment without the file must not be an outage
    }
    return held
  }
}
