import type { Destination, L4Rule, PortRoutes } from './model.ts'
import { drawn } from './choose.ts'
import { sourceTest } from './match.ts'
import type { Caller } from './request.ts'

/** What to do with a connection, and which rule says so. */
export type L4Choice =
  | Readonly<{ kind: 'forward'; rule: L4Rule; to: Destination }>
  /** Reset. `rule`: whose destination is not there; without one no rule matched. */
  | Readonly<{ kind: 'refuse'; rule?: L4Rule; reason: string }>

/** The first rule that matches says where to; `sni` is that of the client hello, in any case. */
export function chooseL4(
  { l4 }: Pick<PortRoutes, 'l4'>,
  sni: string | undefined,
  caller: Caller,
  random: () => number,
): L4Choice {
  const name = sni?.toLowerCase()
  const rule = l4.find(
    ({ match }) =>
      (match.sni === undefined || (name !== undefined && match.sni.some((host) => covers(host, name)))) &&
      (match.source === undefined || sourceTest(match.source)(caller)),
  )
  if (rule === undefined) return { kind: 'refuse', reason: 'no route matches' }
  const targets = rule.destinations.filter(({ weight }) => weight > 0)
  const total = targets.reduce((sum, { weight }) => sum + weight, 0)
  const to = drawn(targets, total, random)?.to
  if (to === undefined) return { kind: 'refuse', rule, reason: 'the rule has no destination' }
  return to.kind === 'invalid' ? { kind: 'refuse', rule, reason: to.reason } : { kind: 'forward', rule, to }
}

/** `*.x` is any name below x, at any depth; `*` is every name. */
const covers = (host: string, name: string): boolean =>
  host === '*' ||
  host === name ||
  (host.startsWith('*.') && name.length > host.length - 1 && name.endsWith(host.slice(1)))
