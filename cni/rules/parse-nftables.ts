import { type NftTable, tableNames } from './nftables.ts'

type Chains = Map<string, string[]>

/** Our tables in the output of `nft list ruleset`: hook line (if any) and rules per chain. Sets are not looked into. */
function parseRuleset(text: string): ReadonlyMap<string, ReadonlyMap<string, readonly string[]>> {
  const tables = new Map<string, Chains>()
  let table: Chains | undefined
  let lines: string[] | undefined
  for (const raw of text.split('\n')) {
    const line = raw.trim()
    const [, name] = /^table inet (\S+) \{$/.exec(line) ?? []
    if (line.startsWith('table ')) {
      table = undefined
      if (name !== undefined && tableNames.some((own) => own === name)) tables.set(name, (table = new Map()))
    } else if (/^chain \S+ \{$/.test(line)) table?.set(line.split(' ')[1] ?? '', (lines = []))
    else if (/^(set|map|flowtable) /.test(line)) lines = undefined
    else if (line === '}') lines = undefined
    else if (line !== '') lines?.push(normalizeNft(line))
  }
  return tables
}

/** How the kernel differs from the intent; empty when it does not. */
export function nftDifferences(wanted: readonly NftTable[], listing: string): string[] {
  const found = parseRuleset(listing)
  return tableNames.flatMap((name) => {
    const want = wanted.find((table) => table.name === name)
    const got = found.get(name)
    if (!want) return got ? [`table ${name} should not exist`] : []
    if (!got) return [`table ${name} is missing`]
    const extra = [...got.keys()].filter((chain) => !want.chains.some((each) => each.name === chain))
    return [
      ...extra.map((chain) => `${name}.${chain} should not exist`),
      ...want.chains.flatMap(({ name: chain, hook, rules }) => {
        const lines = [...(hook === undefined ? [] : [hook]), ...rules].map(normalizeNft)
        return sameLines(`${name}.${chain}`, lines, got.get(chain))
      }),
    ]
  })
}

function sameLines(where: string, want: readonly string[], got: readonly string[] | undefined): string[] {
  if (!got) return [`${where} is missing`]
  const at = want.findIndex((line, i) => line !== got[i])
  if (at >= 0) return [`${where} line ${at + 1} is "${got[at] ?? ''}", not "${want[at]}"`]
  return got.length > want.length ? [`${where} has ${got.length - want.length} rules too many`] : []
}

const priorities: Record<string, string> = { raw: '-300', mangle: '-150', dstnat: '-100', srcnat: '100' }

/** A rule without counters, named priorities, leading zeros and the several spellings of masks and flags. */
export function normalizeNft(line: string): string {
  return line
    .replace(/counter packets \d+ bytes \d+/, 'counter')
    .replace(/priority (\w+);/, (whole, name: string) => `priority ${priorities[name] ?? name};`)
    .replaceAll(' and ', ' & ')
    .replaceAll(' or ', ' | ')
    .replace('tcp flags & (fin | syn | rst | ack) == syn', 'tcp flags syn / fin,syn,rst,ack')
    .replaceAll(/0x[0-9a-f]+/g, (number) => `0x${Number(number).toString(16)}`)
    .replace(/& (0x[0-9a-f]+) \| (0x[0-9a-f]+)/, (_, keep: string, set: string) => {
      const kept = (Number(keep) & ~Number(set)) >>> 0 // nft prints the mask with or without the bits set afterwards
      return `& 0x${kept.toString(16)} | ${set}`
    })
}
