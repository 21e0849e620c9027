import { parseIp } from '#base'
import { jumpOf, ownChains, type Saved, type Table } from './iptables.ts'

/** Reads the output of iptables-save. Lines that it does not know are left out: only our chains matter. */
export function parseSaved(text: string): Saved {
  const tables = new Map<string, Map<string, string[]>>()
  let chains = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [first = '', second = ''] = line.split(' ', 2)
    if (line.startsWith('*')) tables.set(first.slice(1), (chains = new Map()))
    else if (line.startsWith(':')) chains.set(first.slice(1), [])
    else if (first === '-A') chains.get(second)?.push(line)
  }
  return tables
}

/** How the kernel differs from the intent; empty when it does not. Other people's chains and rules are not looked at. */
export function differences(wanted: readonly Table[], saved: Saved): string[] {
  const names = new Set([...wanted.map(({ name }) => name), ...saved.keys()])
  return [...names].flatMap((name) => {
    const table = wanted.find((each) => each.name === name)
    const found = saved.get(name) ?? new Map<string, readonly string[]>()
    return [
      ...ownChains.flatMap((chain) => chainDifferences(name, chain, table, found)),
      ...jumpDifferences(name, table, found),
    ]
  })
}

type Chains = ReadonlyMap<string, readonly string[]>

function chainDifferences(name: string, chain: string, table: Table | undefined, found: Chains): string[] {
  const has = found.get(chain)
  if (!table?.chains.includes(chain)) return has ? [`${name}.${chain} should not exist`] : []
  if (!has) return [`${name}.${chain} is missing`]
  const want = table.rules.filter((rule) => rule.startsWith(`-A ${chain} `)).map(normalize)
  const got = has.map(normalize)
  const at = want.findIndex((rule, i) => rule !== got[i])
  if (at >= 0) return [`${name}.${chain} rule ${at + 1} is "${got[at] ?? ''}", not "${want[at]}"`]
  return got.length > want.length ? [`${name}.${chain} has ${got.length - want.length} rules too many`] : []
}

function jumpDifferences(name: string, table: Table | undefined, found: Chains): string[] {
  const got = [...found].flatMap(([chain, rules]) =>
    ownChains.includes(chain)
      ? []
      : rules.flatMap((rule, i) =>
          ownChains.includes(jumpOf(rule)) ? [{ rule: normalize(rule), first: i === 0 }] : [],
        ),
  )
  const want = (table?.jumps ?? []).map(({ from, to, first }) => ({
    rule: normalize(`-A ${from} -j ${to}`),
    first,
  }))
  const missing = want.filter(({ rule, first }) => !got.some((g) => g.rule === rule && (!first || g.first)))
  const extra = got.length - want.length
  return [
    ...missing.map(({ rule }) => `${name}: "${rule}" is missing or not first`),
    ...(extra > 0 ? [`${name} has ${extra} jumps too many`] : []),
  ]
}

/**
 * A rule without what different iptables print differently: order of matches, `-m` words, lengths of host prefixes,
 * capitals and leading zeros of numbers.
 */
export function normalize(rule: string): string {
  const options: string[] = []
  const words = rule.split(' ').filter((word) => word !== '')
  let negated = ''
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    if (word === '!') {
      negated = '! '
      continue
    }
    if (word === '-m') i++
    else if (word.startsWith('-')) {
      options.push(negated + word)
      negated = ''
    } else options.push(`${options.pop() ?? ''} ${plain(word)}`)
  }
  return options.sort().join(' ')
}

function plain(word: string): string {
  const [, host, length] = /^([0-9a-fA-F.:]+)\/(\d+)$/.exec(word) ?? []
  const address = parseIp(host ?? word)
  if (address !== undefined)
    return length === undefined || length === (address.includes(':') ? '128' : '32')
      ? address
      : `${address}/${length}`
  return word.replaceAll(/0x[0-9a-fA-F]+/g, (number) => `0x${Number(number).toString(16)}`)
}
