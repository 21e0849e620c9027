import type { InboundTunnel } from '#hbone'
import {
  type Applicable,
  applicableOf,
  type AttachedTo,
  type Authorization,
  decide,
  decodeTargeted,
  explainDecision,
} from '#policy'
import type { Handler, Rejection } from '#xds'
import type { Accepted } from './target/index.ts'

/** The class whose waypoints we are. */
const className = 'istio-waypoint'

type Held = Readonly<{ authorization: Authorization; targets: readonly AttachedTo[] }>

/**
 * The policies that are attached to this waypoint, its class and the services behind it (facts: controlplane.md §5.3).
 * They are judged by what is known of the connection: the controller has closed what would take more than that.
 */
export class WaypointPolicies {
  readonly #gateway: Readonly<{ namespace: string; name: string }>
  readonly #held = new Map<string, Held>()
  /** Names of those that nothing readable is known of: they are about everybody, and allow nobody. */
  readonly #unreadable = new Set<string>()
  /** Of one version of the policies, per service and for what is no service. */
  #applicable = new Map<string, Applicable>()
  readonly #listeners = new Set<() => void>()

  constructor(gateway: Readonly<{ namespace: string; name: string }>) {
    this.#gateway = gateway
  }

  /** Why a peer may not have what it asks for; undefined: it may. */
  refusal(target: Accepted, { peer, remote }: Pick<InboundTunnel, 'peer' | 'remote'>): string | undefined {
    for (const name of this.#unreadable) return `${name} cannot be read`
    const connection = { source: remote.address, peer, destination: target.judged }
    const decision = decide(this.#applicableTo(target), connection)
    if (decision.verdict === 'allow') return undefined
    const by = 'considered' in decision ? decision.considered.join(',') : decision.by
    return by === '' ? explainDecision(decision) : by
  }

  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  names(): readonly string[] {
    return [...this.#held.keys(), ...this.#unreadable]
  }

  /** xDS → policies. */
  get handler(): Handler {
    return {
      apply: (upserts, removed) => {
        for (const name of removed) {
          this.#held.delete(name)
          this.#unreadable.delete(name)
        }
        const rejected = upserts.flatMap(({ name, bytes }): readonly Rejection[] => {
          const read = decodeTargeted(name, bytes)
          if ('unreadable' in read) {
            if (!this.#held.has(name)) this.#unreadable.add(name)
            return [{ name, reason: read.unreadable }]
          }
          this.#held.set(name, read)
          this.#unreadable.delete(name)
          const { problems } = read.authorization
          return problems.length === 0 ? [] : [{ name, reason: problems.join(', ') }]
        })
        this.#applicable = new Map()
        for (const listener of this.#listeners) listener()
        return rejected
      },
    }
  }

  #applicableTo(target: Accepted): Applicable {
    const key = target.kind === 'service' ? target.service.key : ''
    const known = this.#applicable.get(key)
    if (known) return known
    const policies = [...this.#held.values()].flatMap(({ authorization, targets }) =>
      targets.some((one) => this.#concerns(one, target)) ? [authorization] : [],
    )
    const made = applicableOf(policies)
    this.#applicable.set(key, made)
    return made
  }

  #concerns({ kind, namespace, name }: AttachedTo, target: Accepted): boolean {
    switch (kind) {
      case 'Gateway':
        return namespace === this.#gateway.namespace && name === this.#gateway.name
      case 'GatewayClass':
        return name === className
      case 'Service':
      case 'ServiceEntry':
        return (
          target.kind === 'service' && target.service.namespace === namespace && target.service.name === name
        )
    }
  }
}
