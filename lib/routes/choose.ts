import type {
  Destination,
  Forward,
  HttpRule,
  PortRoutes,
  Redirect,
  Respond,
  WeightedDestination,
} from './model.ts'
import { type MatchTable, firstMatch, matchTable } from './table.ts'
import { type Caller, questionOf, type RouteRequest } from './request.ts'
import { type PathChange, pathChange } from './rewrite.ts'

/** What to do with a request, and which rule says so. */
export type RouteChoice =
  | Readonly<{
      kind: 'forward'
      rule: HttpRule
      action: Forward
      /** The one drawn; its header operations come after the rule's. */
      destination: WeightedDestination
      to: Destination
      authority?: string
      /** See `changedTarget`. */
      path?: PathChange
    }>
  /** To nowhere: the destination drawn is not there, or there is none to draw. */
  | Readonly<{ kind: 'refuse'; rule: HttpRule; status: number; flag?: 'NC'; reason: string }>
  /** See `redirectLocation`. `destination`: only that share is redirected. */
  | Readonly<{ kind: 'redirect'; rule: HttpRule; redirect: Redirect; destination?: WeightedDestination }>
  | Readonly<{ kind: 'respond'; rule: HttpRule; action: Respond; body: Buffer }>
  /** 404, NR, route_not_found. `rule`: one that says so, rather than none at all. */
  | Readonly<{ kind: 'not-found'; rule?: HttpRule }>

type WeightedChoice = Readonly<{ weight: number; choice: RouteChoice }>
type Choices = Readonly<{ total: number; choices: readonly WeightedChoice[] }>

/** The HTTP rules of one port, ready to be asked. Made once per change, shared by all requests. */
export type RouteTable = Readonly<{
  rules: readonly HttpRule[]
  matches: MatchTable
  choices: readonly Choices[]
}>

/** Rules that came through `parseServiceRoutes`: expressions in them can be compiled. */
export const routeTable = ({ http: rules }: Pick<PortRoutes, 'http'>): RouteTable => ({
  rules,
  matches: matchTable(rules.map(({ match }) => match)),
  choices: rules.map(choicesOf),
})

const notFound: RouteChoice = { kind: 'not-found' }

/** The first rule that matches says what is done; among several destinations `random` (from 0 to below 1) draws. */
export function chooseRoute(
  { matches, choices }: RouteTable,
  request: RouteRequest,
  caller: Caller,
  random: () => number,
): RouteChoice {
  const found = choices[firstMatch(matches, questionOf(request, caller))]
  return found === undefined ? notFound : (drawn(found.choices, found.total, random)?.choice ?? notFound)
}

/** One of `weighted` by its share of `total`. */
export function drawn<T extends Readonly<{ weight: number }>>(
  weighted: readonly T[],
  total: number,
  random: () => number,
): T | undefined {
  if (weighted.length < 2) return weighted[0]
  let left = random() * total
  for (const one of weighted) {
    left -= one.weight
    if (left < 0) return one
  }
  return weighted.at(-1) // `random` was 1, which it should not be
}

function choicesOf(rule: HttpRule): Choices {
  const { action } = rule
  switch (action.kind) {
    case 'forward': {
      const choices = action.destinations
        .filter(({ weight }) => weight > 0)
        .map((destination) => ({ weight: destination.weight, choice: destined(rule, action, destination) }))
      const total = choices.reduce((sum, { weight }) => sum + weight, 0)
      if (total > 0) return { total, choices }
      return only({ kind: 'refuse', rule, status: 500, reason: 'the rule has no destination' })
    }
    case 'redirect':
      return only({ kind: 'redirect', rule, redirect: action })
    case 'respond':
      return only({ kind: 'respond', rule, action, body: Buffer.from(action.body ?? '', 'base64') })
    case 'not-found':
      return only({ kind: 'not-found', rule })
  }
}

const only = (choice: RouteChoice): Choices => ({ total: 1, choices: [{ weight: 1, choice }] })

function destined(rule: HttpRule, action: Forward, destination: WeightedDestination): RouteChoice {
  const { to, redirect } = destination
  if (to.kind === 'invalid') {
    const { status, flag, reason } = to
    return { kind: 'refuse', rule, status, reason, ...(flag === undefined ? {} : { flag }) }
  }
  if (redirect) return { kind: 'redirect', rule, redirect, destination }
  const { authority, path } = { ...action.rewrite, ...destination.rewrite }
  return {
    kind: 'forward',
    rule,
    action,
    destination,
    to,
    ...(authority === undefined ? {} : { authority }),
    ...(path === undefined ? {} : { path: pathChange(path, rule.match) }),
  }
}
