import { MeshError } from '#base'
import type { Netns } from '#linux'
import { type Backend, iptablesProgram } from './backend.ts'
import { familiesOf, type Family, type PodRules } from './intent.ts'
import { podTables, renderRemove, renderReplace, type Saved } from './iptables.ts'
import { podNftTables, renderNft } from './nftables.ts'
import { differences, parseSaved } from './parse-iptables.ts'
import { nftDifferences } from './parse-nftables.ts'
import { applyRoutes, readRoutes, routeDifferences, type Routes } from './routes.ts'
import { run, tryRun } from './run.ts'

/** A pod's namespace and the tool to program it with. */
export type Place = Readonly<{ netns: Netns; backend: Backend; signal: AbortSignal }>
type IptablesVariant = 'nft' | 'legacy' | undefined
const families: readonly Family[] = ['ipv4', 'ipv6']

/** What the kernel of a pod says now. */
type Kernel = Readonly<{ routes: Routes; rules: NftListing | IptablesSaved }>
type NftListing = Readonly<{ kind: 'nftables'; listing: string }>
type IptablesSaved = Readonly<{ kind: 'iptables'; variant: IptablesVariant; saved: Record<Family, Saved> }>

/**
 * Makes the kernel of the pod do what `rules` says, then reads it back and throws unless it is so. Idempotent: what is
 * right already is not touched. Each table is replaced in one commit, and redirection is in one table and comes last,
 * so there is no moment with half of the rules and no need for guard rules meanwhile (Istio drops traffic for that time).
 */
export async function applyPodRules(place: Place, rules: PodRules): Promise<void> {
  const kernel = await readKernel(place)
  if (findDifferences(kernel, rules).length === 0) return
  await write(place, kernel, rules)
  const wrong = findDifferences(await readKernel(place), rules)
  if (wrong.length > 0)
    throw new MeshError('syscall-failed', {
      message: `the kernel did not take the rules: ${wrong.slice(0, 3).join('; ')}`,
    })
}

/** How the kernel of the pod differs from `rules`, in words; empty when it does not. */
export const verifyPodRules = async (place: Place, rules: PodRules): Promise<readonly string[]> =>
  findDifferences(await readKernel(place), rules)

/** Takes everything of ours out again, and reads back that nothing is left. No error when there was nothing. */
export async function removePodRules(place: Place): Promise<void> {
  const kernel = await readKernel(place)
  await write(place, kernel, undefined)
  if (kernel.rules.kind === 'iptables' && kernel.rules.variant !== 'legacy')
    for (const family of families) await dropEmptyTables(place, family)
  const left = findDifferences(await readKernel(place), undefined)
  if (left.length > 0)
    throw new MeshError('syscall-failed', {
      message: `rules are left in the pod: ${left.slice(0, 3).join('; ')}`,
    })
}

async function readKernel(place: Place): Promise<Kernel> {
  const { netns, backend, signal } = place
  if (backend.kind === 'nftables') {
    const [routes, listing] = await Promise.all([
      readRoutes(netns, signal),
      run(['nft', 'list', 'ruleset'], { netns, signal }),
    ])
    return { routes, rules: { kind: 'nftables', listing } }
  }
  const { variant } = backend
  const [routes, ipv4, ipv6] = await Promise.all([
    readRoutes(netns, signal),
    run([iptablesProgram(variant, 'ipv4', 'save')], { netns, signal }),
    // A kernel without IPv6 cannot list what it does not have; IPv4 must be readable.
    tryRun([iptablesProgram(variant, 'ipv6', 'save')], { netns, signal }),
  ])
  const saved = { ipv4: parseSaved(ipv4), ipv6: parseSaved(ipv6 ?? '') }
  return { routes, rules: { kind: 'iptables', variant, saved } }
}

function findDifferences({ routes, rules: found }: Kernel, rules: PodRules | undefined): string[] {
  const inRules =
    found.kind === 'nftables'
      ? nftDifferences(rules ? podNftTables(rules) : [], found.listing)
      : families.flatMap((family) => differences(wanted(rules, family), found.saved[family]))
  return [...inRules, ...routeDifferences(routed(rules, routes), routes)]
}

async function write(place: Place, { routes, rules: found }: Kernel, rules: PodRules | undefined) {
  const { netns, signal } = place
  // The way back must be there before anything is captured, and must outlast it.
  if (rules) await applyRoutes(netns, routed(rules, routes), routes, signal)
  if (found.kind === 'nftables') {
    const input = renderNft(rules ? podNftTables(rules) : [])
    await run(['nft', '-f', '-'], { netns, input, signal })
  } else {
    for (const family of families) {
      const tables = wanted(rules, family)
      const surplus = renderRemove(
        found.saved[family],
        tables.map(({ name }) => name),
      )
      const input = surplus + renderReplace(tables, found.saved[family])
      const program = iptablesProgram(found.variant, family, 'restore')
      if (input !== '') await run([program, '--noflush', '-w', '10'], { netns, input, signal })
    }
  }
  if (!rules) await applyRoutes(netns, [], routes, signal)
}

const wanted = (rules: PodRules | undefined, family: Family) =>
  rules && familiesOf(rules).includes(family) ? podTables(rules, family) : []

/** The route can only exist where lo has an address of the family. */
const routed = (rules: PodRules | undefined, routes: Routes) =>
  rules ? familiesOf(rules).filter((family) => routes[family].loopback) : []

/**
 * iptables over nft leaves its empty base chains behind, which keep connection tracking on for every packet of a pod
 * that has nothing to do with us any more. Tables without any rule are therefore dropped whole.
 */
async function dropEmptyTables({ netns, signal }: Place, family: Family): Promise<void> {
  const listing = await tryRun(['nft', 'list', 'ruleset', family === 'ipv4' ? 'ip' : 'ip6'], {
    netns,
    signal,
  })
  const empty = emptyTables(listing ?? '')
  if (empty.length === 0) return
  const input = empty.map((table) => `delete table ${table}\n`).join('')
  await run(['nft', '-f', '-'], { netns, input, signal })
}

/** Names (`ip nat`) of the iptables tables in a listing that hold nothing but base chains that accept. */
export function emptyTables(listing: string): string[] {
  const blocks = listing.split(/^(?=table )/m).filter((text) => text.startsWith('table '))
  return blocks.flatMap((text) => {
    const [, name = ''] = /^table (ip6? (?:raw|mangle|nat|filter|security)) \{/.exec(text) ?? []
    const lines = text.split('\n').slice(1)
    const idle = lines.every((line) => /^\s*(chain [A-Z]+ \{|type \w+ hook .*policy accept;|\}|)$/.test(line))
    return name !== '' && idle ? [name] : []
  })
}
