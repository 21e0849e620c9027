import { MeshError } from '#base'
import { tryRun } from './run.ts'

/** Which tool programs the kernel. One choice for a node: two backends that know nothing of each other would fight. */
export type Backend = Readonly<
  { kind: 'iptables'; variant: 'nft' | 'legacy' | undefined } | { kind: 'nftables' }
>

export type BackendChoice = Readonly<{
  /** NATIVE_NFTABLES */
  nativeNftables: boolean
  /** FORCE_IPTABLES_BINARY: `nft`, `legacy`, or undefined to find out. */
  iptables: 'nft' | 'legacy' | undefined
}>

/**
 * Looks once, on the node (as Istio does): legacy only where legacy rules exist and none of the other kind, or where
 * nothing else is there.
 */
export async function detectBackend(choice: BackendChoice, signal: AbortSignal): Promise<Backend> {
  const works = async (program: string) => (await tryRun([program, '--version'], { signal })) !== undefined
  const rulesOf = async (program: string) =>
    (await tryRun([program], { signal }))?.split('\n').filter((line) => line.startsWith('-A')).length ?? 0
  if (choice.nativeNftables) {
    if (await works('nft')) return { kind: 'nftables' }
    throw missing('nft')
  }
  if (choice.iptables) {
    if (await works(`iptables-${choice.iptables}`)) return { kind: 'iptables', variant: choice.iptables }
    throw missing(`iptables-${choice.iptables}`)
  }
  const [nft, legacy] = await Promise.all([works('iptables-nft'), works('iptables-legacy')])
  if (nft && legacy) {
    const [nftRules, legacyRules] = await Promise.all([
      rulesOf('iptables-nft-save'),
      rulesOf('iptables-legacy-save'),
    ])
    return { kind: 'iptables', variant: nftRules === 0 && legacyRules > 0 ? 'legacy' : 'nft' }
  }
  if (nft || legacy) return { kind: 'iptables', variant: nft ? 'nft' : 'legacy' }
  if (await works('iptables')) return { kind: 'iptables', variant: undefined }
  if (await works('nft')) return { kind: 'nftables' }
  throw missing('iptables or nft')
}

const missing = (what: string) =>
  new MeshError('bad-config', { message: `${what} is not on this node; in-pod redirection needs it` })

/** `iptables-nft-save`, `ip6tables-legacy-restore` … */
export const iptablesProgram = (
  variant: 'nft' | 'legacy' | undefined,
  family: 'ipv4' | 'ipv6',
  what: 'save' | 'restore',
): string =>
  [family === 'ipv4' ? 'iptables' : 'ip6tables', variant, what].filter((part) => part !== undefined).join('-')
