import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, resolve } from 'node:path'
import { run, searchPath } from './net/index.ts'

/** Can a cluster come up here? If not, a sentence for the user. */
export type Preflight = Readonly<{ kind: 'ready' }> | Readonly<{ kind: 'missing'; sentence: string }>

/** Program → the Debian package that has it. */
const programs = {
  ip: 'iproute2',
  nft: 'nftables',
  iptables: 'iptables',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  setpriv: 'util-linux',
  mount: 'mount',
  umount: 'mount',
  pivot_root: 'util-linux',
  fallocate: 'util-linux',
  mountpoint: 'util-linux',
} as const
const plugins = ['ptp', 'host-local', 'loopback', 'portmap']
const addon = resolve(import.meta.dirname, '../.build/sys.node')

/** One line of shell per kernel feature, tried in a scratch namespace that vanishes with the shell. */
const features = [
  ['network namespaces with veth pairs', 'ip link add name test0 type veth peer name test1'],
  ['bridges', 'ip link add name test2 type bridge'],
  ['IPv6', 'test -e /proc/sys/net/ipv6/conf/default/accept_dad'],
  [
    'nftables with address translation',
    `nft 'add table inet t; add chain inet t c { type nat hook output priority 0; }; add rule inet t c ip daddr 10.0.0.1 tcp dport 80 dnat ip to 10.0.0.2:80'`,
  ],
  [
    'overlay file systems',
    'mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/m && mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/m',
  ],
] as const

/** Can a sandbox run here? If not, one sentence says what is missing and what to do about it. */
export async function preflight(signal: AbortSignal): Promise<Preflight> {
  const missing = (sentence: string): Preflight => ({ kind: 'missing', sentence })
  if (process.platform !== 'linux') return missing(`the sandbox needs Linux, this is ${process.platform}`)
  if (process.getuid?.() !== 0)
    return missing('the sandbox makes network namespaces and mounts, so it must be run as root (try sudo)')
  for (const [program, packageName] of Object.entries(programs))
    if (!isOnPath(program))
      return missing(`the program "${program}" is missing: apt-get install ${packageName}`)
  for (const plugin of plugins)
    if (!existsSync(`/usr/lib/cni/${plugin}`))
      return missing(`the CNI plugin "${plugin}" is missing: apt-get install containernetworking-plugins`)
  if (!existsSync(addon)) return missing(`${addon} is missing: run npm run setup`)
  const feature = await missingFeature(signal)
  return feature === undefined ? { kind: 'ready' } : missing(`this kernel does not offer ${feature}`)
}

function isOnPath(program: string): boolean {
  return searchPath()
    .split(delimiter)
    .some((dir) => {
      try {
        accessSync(`${dir}/${program}`, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

async function missingFeature(signal: AbortSignal): Promise<string | undefined> {
  const script = features
    .map(([name, test]) => `(${test}) >/dev/null 2>&1 || { echo '${name}'; exit 0; }`)
    .join('\n')
  const { code, stdout } = await run(['unshare', '--net', '--mount', 'sh', '-c', script], { signal })
  if (code !== 0 && stdout === '') return 'namespaces (unshare was refused)'
  return stdout.trim() === '' ? undefined : stdout.trim()
}
