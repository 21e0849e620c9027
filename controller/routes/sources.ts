import type { Fetch } from '#kube'
import type { Destination, DestinationPolicy, HttpRule, L4Rule, Origin } from '#routes'
import type { RoutedService } from './routed-service.ts'

/** What the routes of one front end make of a port. A list that is not there leaves that traffic as it is by default. */
export type PortRules = Readonly<{
  port: number
  /** In order of precedence. No rule matches: 404; so a front end whose traffic then goes to the service says so in a last rule. */
  http?: readonly HttpRule[]
  /** In order of precedence. No rule matches: closed. */
  l4?: readonly L4Rule[]
}>

/** Everything that one front end says about one service; a row per service that it says anything about. */
export type ServiceRules = Readonly<{
  service: string
  ports: readonly PortRules[]
  /** Of the objects behind it the oldest: where both front ends have rules for a service, the older one's count. */
  oldest: ObjectAge
}>

type ObjectAge = Readonly<{ origin: Origin; created: string }>

/** By age; of objects made in the same second by kind and name, so that everybody agrees. */
export const isOlder = (a: ObjectAge, b: ObjectAge): boolean =>
  a.created === b.created
    ? `${a.origin.name} ${a.origin.kind}` < `${b.origin.name} ${b.origin.kind}`
    : a.created < b.created

/**
 * How a destination is called by the waypoint of `client` (the service whose rules choose it). `usual` is what counts
 * where nobody says otherwise. What cannot be had (a subset that nobody defined) is a matter of the rule that names it.
 */
export type PolicySource = (
  destination: Destination,
  usual: DestinationPolicy,
  client: RoutedService,
  fetch: Fetch,
) => DestinationPolicy
