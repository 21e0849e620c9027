import { isRecord, MeshError } from '#base'
import type { Netns } from '#linux'
import { type Family, hex, wire } from './intent.ts'
import { run, runAnyway } from './run.ts'

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

/** What of it a namespace has, per family. */
export type Routes = Readonly<Record<Family, Readonly<{ rules: number; routes: number; loopback: boolean }>>>

/** Reads rules, our table and the addresses of lo; throws when lo is down, as redirection then delivers nothing. */
export async function readRoutes(netns: Netns, signal: AbortSignal): Promise<Routes> {
  const input = `rule show\nroute show table ${wire.routeTable}\naddr show dev lo\n`
  const read = async (family: Family) => {
    // -force: a table that never had a route "does not exist", and without IPv6 there are no rules; both mean none.
    const command = ['ip', flag(family), '-force', '-j', '-batch', '-'] as const
    return parseRoutes(await runAnyway([...command], { netns, input, signal }))
  }
  const [ipv4, ipv6] = await Promise.all([read('ipv4'), read('ipv6')])
  if (!ipv4.up)
    throw new MeshError('syscall-failed', {
      message: 'lo is down in the pod: its runtime must bring it up (CNI plugin "loopback")',
    })
  return { ipv4, ipv6 }
}

/** The output of the three questions: JSON arrays one after the other, in which rows tell by their keys what they are. */
function parseRoutes(text: string): Readonly<{
  rules: number
  routes: number
  loopback: boolean
  up: boolean
}> {
  const rows = text.split(/(?<=\])\s*\n/).flatMap(list)
  const lo = rows.find((row) => row['ifname'] === 'lo')
  const flags: unknown = lo?.['flags']
  const addresses: unknown = lo?.['addr_info']
  return {
    rules: rows.filter(
      (row) =>
        row['priority'] === wire.rulePriority &&
        row['fwmark'] === hex(wire.returnMark) &&
        String(row['table']) === `${wire.routeTable}`,
    ).length,
    routes: rows.filter((row) => row['type'] === 'local' && row['dst'] === 'default' && row['dev'] === 'lo')
      .length,
    loopback: Array.isArray(addresses) && addresses.some((each) => isRecord(each) && 'local' in each),
    up: Array.isArray(flags) && flags.includes('UP'),
  }
}

/** What of the rule and route is missing, doubled or too much, per family. */
export const routeDifferences = (families: readonly Family[], found: Routes): string[] =>
  bothFamilies.flatMap((family) => {
    const want = families.includes(family) ? 1 : 0
    const { rules, routes } = found[family]
    return [
      ...(rules === want ? [] : [`${family} has ${rules} of ${want} rules to table ${wire.routeTable}`]),
      ...(routes === want ? [] : [`${family} has ${routes} of ${want} routes in table ${wire.routeTable}`]),
    ]
  })

/** Makes exactly one rule and route exist for each wanted family, and none for the other. */
export async function applyRoutes(
  netns: Netns,
  families: readonly Family[],
  found: Routes,
  signal: AbortSignal,
): Promise<void> {
  for (const family of bothFamilies) {
    const { rules, routes } = found[family]
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

const bothFamilies: readonly Family[] = ['ipv4', 'ipv6']

/** `ip -j` prints an array, or nothing at all for none. */
function list(json: string): Record<string, unknown>[] {
  const parsed: unknown = json.trim() === '' ? [] : JSON.parse(json)
  return Array.isArray(parsed) ? parsed.filter(isRecord) : []
}
