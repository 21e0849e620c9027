import { messageOf } from '#base'
import type { ServiceKey } from '#mesh'
import {
  type Destination,
  type DestinationPolicy,
  parseServiceRoutes,
  policyKey,
  type PortRoutes,
  type RouteTable,
  routeTable,
} from '#routes'
import type { Handler, Rejection } from '#xds'

/** The routes of one port, ready to be asked, and what is said about where they lead. */
export type PortPlan = Readonly<{
  routes: PortRoutes
  table: RouteTable
  policyOf(destination: Destination): DestinationPolicy | undefined
}>

type ServicePlan = ReadonlyMap<number, PortPlan>
/** Of a service whose routes cannot be read at all. */
type Known = Readonly<{ kind: 'plan'; ports: ServicePlan }> | Readonly<{ kind: 'unreadable' }>

/** What is known of the routes of a service's port. */
export type Lookup =
  | Readonly<{ kind: 'plan'; plan: PortPlan }>
  /** Nobody has said anything: it goes to the service itself. */
  | Readonly<{ kind: 'none' }>
  /** What was said cannot be read, and nothing readable came before it. */
  | Readonly<{ kind: 'unreadable' }>

const none: Lookup = { kind: 'none' }

/** The routes of the services that we serve, as last pushed. */
export class Routes {
  readonly #services = new Map<string, Known>()

  of(service: ServiceKey, port: number): Lookup {
    const known = this.#services.get(service)
    if (known === undefined) return none
    if (known.kind === 'unreadable') return known
    const plan = known.ports.get(port)
    return plan ? { kind: 'plan', plan } : none
  }

  /** Every port of every service that can be read. */
  *plans(): Iterable<readonly [service: string, plan: PortPlan]> {
    for (const [service, known] of this.#services)
      if (known.kind === 'plan') for (const plan of known.ports.values()) yield [service, plan]
  }

  names(): readonly string[] {
    return [...this.#services.keys()]
  }

  /** xDS → routes. What cannot be read is rejected by name; what was held of it stays. */
  get handler(): Handler {
    return { apply: (upserts, removed) => this.#apply(upserts, removed) }
  }

  #apply(
    upserts: readonly Readonly<{ name: string; bytes: Uint8Array }>[],
    removed: readonly string[],
  ): readonly Rejection[] {
    for (const name of removed) this.#services.delete(name)
    return upserts.flatMap(({ name, bytes }): readonly Rejection[] => {
      const reason = this.#read(name, bytes)
      return reason === undefined ? [] : [{ name, reason }]
    })
  }

  #read(name: string, bytes: Uint8Array): string | undefined {
    const parsed = parseServiceRoutes(name, bytes)
    if (parsed.kind === 'unreadable') {
      if (!this.#services.has(name)) this.#services.set(name, { kind: 'unreadable' })
      return parsed.problem
    }
    try {
      const { routes, problems } = parsed
      const policies = new Map(routes.policies.map((policy) => [policyKey(policy.destination), policy]))
      const policyOf = remembering((destination) => policies.get(policyKey(destination)))
      const ports = new Map(
        routes.ports.map((port) => [port.port, { routes: port, table: routeTable(port), policyOf }]),
      )
      this.#services.set(name, { kind: 'plan', ports })
      return problems.length === 0 ? undefined : problems.join('; ')
    } catch (error) {
      if (!this.#services.has(name)) this.#services.set(name, { kind: 'unreadable' })
      return messageOf(error)
    }
  }
}

/** A rule's destination is asked about with each of its requests: its key is made once. */
function remembering(policyOf: PortPlan['policyOf']): PortPlan['policyOf'] {
  const known = new WeakMap<Destination, DestinationPolicy>()
  return (destination) => {
    const found = known.get(destination)
    if (found) return found
    const policy = policyOf(destination)
    if (policy) known.set(destination, policy)
    return policy
  }
}
