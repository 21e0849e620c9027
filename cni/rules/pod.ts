import { MeshError } from '#base'
import type { Netns } from '#linux'
import { type Backend, iptablesProgram } from './backend.ts'
import { familiesOf, type Family, type PodRules } from './intent.ts'
import { podTables, renderRemove, renderReplace, type Saved } from './iptables.ts'
import { podNftTables, renderNft, renderNftRemove } from './nftables.ts'
import { differences, parseSaved } from './parse-iptables.ts'
import { nftDifferences } from './parse-nftables.ts'
import { applyRoutes, loopbackFamilies, routeDifferences } from './routes.ts'
import { run, tryRun } from './run.ts'

/** A pod's namespace and the tool to program it with. */
export type Place = Readonly<{ netns: Netns; backend: Backend; signal: AbortSignal }>
type IptablesVariant = 'nft' | 'legacy' | undefined
const families: readonly Family[] = ['ipv4', 'ipv6']

/**
 * Makes the kernel of the pod do what `rules` says, then reads it back and throws unless it is so. Idempotent: what is
 * right already is not touched. Each table is replaced in one commit, and redirection is in one table and comes last,
 * so there is no moment with half of the rules and no need for guard rules meanwhile (Istio drops traffic for that time).
 */
export async function applyPodRules(place: Place, rules: PodRules): Promise<void> {
  const { netns, backend, signal } = place
  const present = await loopbackFamilies(netns, signal)
  if ((await findDifferences(place, rules, present)).length === 0) return
  await applyRoutes(netns, routed(rules, present), signal)
  if (backend.kind === 'nftables')
    await run(['nft', '-f', '-'], { netns, input: renderNft(podNftTables(rules)), signal })
  else for (const family of families) await applyIptables(place, backend.variant, family, rules)
  const wrong = await findDifferences(place, rules, present)
  if (wrong.length > 0)
    throw new MeshError('syscall-failed', {
      message: `the kernel did not take the rules: ${wrong.slice(0, 3).join('; ')}`,
    })
}

/** How the kernel of the pod differs from `rules`, in words; empty when it does not. */
export async function verifyPodRules(place: Place, rules: PodRules): Promise<readonly string[]> {
  return findDifferences(place, rules, await loopbackFamilies(place.netns, place.signal))
}

/** Takes everything of ours out again, and reads back that nothing is left. No error when there was nothing. */
export async function removePodRules(place: Place): Promise<void> {
  const { netns, backend, signal } = place
  if (backend.kind === 'nftables') await run(['nft', '-f', '-'], { netns, input: renderNftRemove(), signal })
  else for (const family of families) await removeIptables(place, backend.variant, family)
  await applyRoutes(netns, [], signal)
  const left = [...(await ruleDifferences(place, undefined)), ...(await routeDifferences(netns, [], signal))]
  if (left.length > 0)
    throw new MeshError('syscall-failed', {
      message: `rules are left in the pod: ${left.slice(0, 3).join('; ')}`,
    })
}

/** The route can only exist where lo has an address of the family. */
const routed = (rules: PodRules, present: readonly Family[]) =>
  familiesOf(rules).filter((family) => present.includes(family))

const findDifferences = async (place: Place, rules: PodRules, present: readonly Family[]) => [
  ...(await ruleDifferences(place, rules)),
  ...(await routeDifferences(place.netns, routed(rules, present), place.signal)),
]

async function ruleDifferences(place: Place, rules: PodRules | undefined): Promise<string[]> {
  const { netns, backend, signal } = place
  if (backend.kind === 'nftables') {
    const listing = await run(['nft', 'list', 'ruleset'], { netns, signal })
    return nftDifferences(rules ? podNftTables(rules) : [], listing)
  }
  const all = await Promise.all(
    families.map(async (family) =>
      differences(wanted(rules, family), await save(place, backend.variant, family)),
    ),
  )
  return all.flat()
}

const wanted = (rules: PodRules | undefined, family: Family) =>
  rules && familiesOf(rules).includes(family) ? podTables(rules, family) : []

async function save({ netns, signal }: Place, variant: IptablesVariant, family: Family): Promise<Saved> {
  const program = iptablesProgram(variant, family, 'save')
  // A kernel without IPv6 cannot list what it does not have; IPv4 must be readable.
  const text =
    family === 'ipv4' ? await run([program], { netns, signal }) : await tryRun([program], { netns, signal })
  return parseSaved(text ?? '')
}

async function applyIptables(
  place: Place,
  variant: IptablesVariant,
  family: Family,
  rules: PodRules,
): Promise<void> {
  const saved = await save(place, variant, family)
  const tables = wanted(rules, family)
  const surplus = renderRemove(
    saved,
    tables.map(({ name }) => name),
  )
  await restore(place, variant, family, surplus + renderReplace(tables, saved))
}

async function removeIptables(place: Place, variant: IptablesVariant, family: Family): Promise<void> {
  const saved = await save(place, variant, family)
  await restore(place, variant, family, renderRemove(saved))
  if (variant !== 'legacy') await dropEmptyTables(place, family)
}

async function restore(
  { netns, signal }: Place,
  variant: IptablesVariant,
  family: Family,
  text: string,
): Promise<void> {
  if (text === '') return
  const wait = ['--noflush', '-w', '10']
  await run([iptablesProgram(variant, family, 'restore'), ...wait], { netns, input: text, signal })
}

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
