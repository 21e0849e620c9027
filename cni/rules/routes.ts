import { isRecord, MeshError } from '#base'
import type { Netns } from '#linux'
import { type Family, hex, wire } from './intent.ts'
import { run, tryRun } from './run.ts'

/** The way back of answers to spoofed sources: what carries the return mark is delivered on lo. */
const rule = [
  'fwmark',
  `${hex(wire.returnMark)}/${hex(wire.markMask)}`,
  'pref',
  `${wire.rulePriority}`,
  'lookup',
  `${wire.routeTable}`,
]
const route = (family: Family) => [
  'local',
  family === 'ipv4' ? '0.0.0.0/0' : '::/0',
  'dev',
  'lo',
  'table',
  `${wire.routeTable}`,
]
const flag = (family: Family) => (family === 'ipv4' ? '-4' : '-6')

/** Families that lo has an address of; throws when lo is down, as redirection then delivers nothing. */
export async function loopbackFamilies(netns: Netns, signal: AbortSignal): Promise<readonly Family[]> {
  const [lo] = list(await run(['ip', '-j', 'addr', 'show', 'dev', 'lo'], { netns, signal }))
  const flags: unknown = lo?.['flags']
  if (!Array.isArray(flags) || !flags.includes('UP'))
    throw new MeshError('syscall-failed', {
      message: 'lo is down in the pod: its runtime must bring it up (CNI plugin "loopback")',
    })
  const addresses = Array.isArray(lo?.['addr_info']) ? lo['addr_info'].filter(isRecord) : []
  const families = new Set(addresses.map((address) => address['family']))
  return (['ipv4', 'ipv6'] as const).filter((family) => families.has(family === 'ipv4' ? 'inet' : 'inet6'))
}

/** What of the rule and route is missing or doubled, per family. */
export async function routeDifferences(
  netns: Netns,
  families: readonly Family[],
  signal: AbortSignal,
): Promise<string[]> {
  const all = await Promise.all(
    (['ipv4', 'ipv6'] as const).map(async (family) => {
      const { rules, routes } = await readRoutes(netns, family, signal)
      const want = families.includes(family) ? 1 : 0
      return [
        ...(rules === want ? [] : [`${family} has ${rules} of ${want} rules to table ${wire.routeTable}`]),
        ...(routes === want ? [] : [`${family} has ${routes} of ${want} routes in table ${wire.routeTable}`]),
      ]
    }),
  )
  return all.flat()
}

/** Makes exactly one rule and route exist for each wanted family, and none for the other. */
export async function applyRoutes(
  netns: Netns,
  families: readonly Family[],
  signal: AbortSignal,
): Promise<void> {
  for (const family of ['ipv4', 'ipv6'] as const) {
    const { rules, routes } = await readRoutes(netns, family, signal)
    const want = families.includes(family) ? 1 : 0
    const lines = [
      ...Array<string>(Math.max(0, rules - want)).fill(`rule del ${rule.join(' ')}`),
      ...(rules < want ? [`rule add ${rule.join(' ')}`] : []),
      ...(routes === want ? [] : [`route ${want ? 'replace' : 'del'} ${route(family).join(' ')}`]),
    ]
    if (lines.length > 0)
      await run(['ip', flag(family), '-batch', '-'], { netns, input: `${lines.join('\n')}\n`, signal })
  }
}

async function readRoutes(netns: Netns, family: Family, signal: AbortSignal) {
  const ask = async (...words: string[]) =>
    // A table that never had a route "does not exist", and a kernel without IPv6 has no rules at all: both mean none.
    list((await tryRun(['ip', flag(family), '-j', ...words], { netns, signal })) ?? '[]')
  const [rules, routes] = await Promise.all([
    ask('rule', 'show'),
    ask('route', 'show', 'table', `${wire.routeTable}`),
  ])
  return {
    rules: rules.filter(
      (r) => r['priority'] === wire.rulePriority && r['fwmark'] === hex(wire.returnMark) && isOurTable(r),
    ).length,
    routes: routes.filter((r) => r['type'] === 'local' && r['dst'] === 'default' && r['dev'] === 'lo').length,
  }
}

const isOurTable = (row: Record<string, unknown>) => `${String(row['table'])}` === `${wire.routeTable}`

/** `ip -j` prints an array, or nothing at all for none. */
function list(json: string): Record<string, unknown>[] {
  const parsed: unknown = json.trim() === '' ? [] : JSON.parse(json)
  return Array.isArray(parsed) ? parsed.filter(isRecord) : []
}
