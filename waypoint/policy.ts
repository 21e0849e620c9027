import {
  type Applicable,
  applicableOf,
  type AttachedTo,
  type Authorization,
  decide,
  decodeTargeted,
  explainDecision,
} from '#policy'
import type { SocketAddress } from '#base'
import type { Service } from '#mesh'
import type { DestinationPolicy } from '#routes'
import type { Handler, Rejection } from '#xds'
import type { Accepted } from './target/index.ts'
import type { Asker } from './workload-policy.ts'

/** The class whose waypoints we are. */
const className = 'istio-waypoint'

type Held = Readonly<{ authorization: Authorization; targets: readonly AttachedTo[] }>

/** A destination that something goes to by way of a route. */
export type Through = Readonly<{ service: Service; policy: Pick<DestinationPolicy, 'destination'> }>

/** What a change of policies may have changed the answer for: everything, or these services (`kind/namespace/name`). */
export type Touched = 'everything' | ReadonlySet<string>

/**
 * The policies that are attached to this waypoint, its class and the services behind it (facts: controlplane.md §5.3).
 * They are judged by what is known of the connection: the controller has closed what would take more than that.
 */
export class WaypointPolicies {
  readonly #gateway: Readonly<{ namespace: string; name: string }>
  readonly #held = new Map<string, Held>()
  /**
   * Those that concern a service (`kind/namespace/name`) or another waypoint, under '' those that concern whatever we
   * serve; and those that perhaps do, by namespace.
   */
  readonly #byService = new Map<string, Map<string, Authorization>>()
  /** Names of those that nothing readable is known of: they are about everybody, and allow nobody. */
  readonly #unreadable = new Set<string>()
  /** Ready to be asked, per service; '' for what is no service. */
  readonly #applicable = new Map<string, Applicable>()
  readonly #listeners = new Set<(touched: Touched) => void>()

  constructor(gateway: Readonly<{ namespace: string; name: string }>) {
    this.#gateway = gateway
  }

  /** Why a peer may not have what it asks for; undefined: it may. */
  refusal(target: Accepted, asker: Asker): string | undefined {
    return this.#refusal(this.#applicableTo(target), target.judged, asker)
  }

  /** The same for a service that a route leads to; `at` is its endpoint. */
  refusalOf({ service, policy }: Through, at: SocketAddress, asker: Asker): string | undefined {
    const address = service.vips[0]?.address ?? at.address
    const judged = { address, port: policy.destination.port }
    return this.#refusal(this.#kept(service), judged, asker)
  }

  #refusal(applicable: Applicable, destination: SocketAddress, { peer, remote }: Asker): string | undefined {
    for (const name of this.#unreadable) return `${name} cannot be read`
    const decision = decide(applicable, { source: remote.address, peer, destination })
    if (decision.verdict === 'allow') return undefined
    const by = 'considered' in decision ? decision.considered.join(',') : decision.by
    return by === '' ? explainDecision(decision) : by
  }

  /** Told after each change, of what it may have changed. */
  onChange(listener: (touched: Touched) => void): Disposable {
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
        const touched = new Set<string>()
        for (const name of removed) {
          if (this.#unreadable.delete(name)) touched.add('')
          this.#drop(name, touched)
        }
        const rejected = upserts.flatMap(({ name, bytes }) => this.#read(name, bytes, touched))
        for (const key of touched) this.#applicable.delete(key)
        if (touched.has('')) this.#applicable.clear()
        for (const listener of this.#listeners) listener(touched.has('') ? 'everything' : touched)
        return rejected
      },
    }
  }

  #read(name: string, bytes: Uint8Array, touched: Set<string>): readonly Rejection[] {
    const read = decodeTargeted(name, bytes)
    if ('unreadable' in read) {
      if (!this.#held.has(name)) {
        this.#unreadable.add(name)
        touched.add('')
      }
      return [{ name, reason: read.unreadable }]
    }
    if (this.#unreadable.delete(name)) touched.add('')
    this.#drop(name, touched)
    this.#held.set(name, read)
    for (const key of this.#keysOf(read)) {
      const policies = this.#byService.get(key) ?? new Map<string, Authorization>()
      this.#byService.set(key, policies.set(name, read.authorization))
      touch(key, touched)
    }
    const { problems } = read.authorization
    return problems.length === 0 ? [] : [{ name, reason: problems.join(', ') }]
  }

  #drop(name: string, touched: Set<string>): void {
    const held = this.#held.get(name)
    if (!held) return
    this.#held.delete(name)
    for (const key of this.#keysOf(held)) {
      const policies = this.#byService.get(key)
      policies?.delete(name)
      if (policies?.size === 0) this.#byService.delete(key)
      touch(key, touched)
    }
  }

  #keysOf({ targets }: Held): ReadonlySet<string> {
    return new Set(targets.flatMap((target) => this.#keyOf(target) ?? []))
  }

  /** Undefined for what is none of ours. */
  #keyOf({ kind, namespace, name }: AttachedTo): string | undefined {
    switch (kind) {
      case 'Gateway':
        return namespace === this.#gateway.namespace && name === this.#gateway.name
          ? ''
          : gatewayKey(`${namespace}/${name}`)
      case 'GatewayClass':
        return name === className ? '' : undefined
      case 'Service':
      case 'ServiceEntry':
        return nameOf({ kind, namespace, name })
      case 'Namespace':
        return namespaceKey(namespace === this.#gateway.namespace ? '' : namespace)
    }
  }

  #applicableTo(target: Accepted): Applicable {
    const service = target.kind === 'service' ? target.service : undefined
    // Not for long: nothing is kept for it.
    if (target.beside.length > 0)
      return this.#made([...keysOf(service), ...target.beside.flatMap(gatewayKeys)])
    return this.#kept(service)
  }

  #kept(service: Service | undefined): Applicable {
    const key = service ? nameOf(service) : ''
    const known = this.#applicable.get(key)
    if (known) return known
    const made = this.#made(keysOf(service))
    this.#applicable.set(key, made)
    return made
  }

  #made(keys: readonly string[]): Applicable {
    const sure = this.#at(keys.filter((key) => !isUnsure(key)))
    const unsure = this.#at(keys.filter(isUnsure))
    // Whom those that are about it for sure keep out, one that is perhaps about something else must not let in.
    const isDecided = sure.values().some(isAllow)
    for (const [name, policy] of unsure)
      if (sure.has(name) || (isDecided && isAllow(policy))) unsure.delete(name)
    return applicableOf([...sure.values(), ...unsure.values()])
  }

  #at(keys: readonly string[]): Map<string, Authorization> {
    return new Map(keys.flatMap((key) => [...(this.#byService.get(key) ?? [])]))
  }
}

/** Of another waypoint than this. */
const gatewayKey = (name: string) => `Gateway/${name}`
const namespacePrefix = 'Namespace/'
/** Of whatever is in a namespace, or with '' of whatever we serve: there for a target that cannot be read. */
const namespaceKey = (namespace: string) => `${namespacePrefix}${namespace}`
const isUnsure = (key: string) => key.startsWith(namespacePrefix)
const isAllow = ({ action, dryRun, audit }: Authorization) => action === 'allow' && !dryRun && !audit
const gatewayKeys = (name: string) => [gatewayKey(name), namespaceKey(name.slice(0, name.indexOf('/')))]
const whatever: readonly string[] = ['', namespaceKey('')]
const keysOf = (service: Service | undefined): readonly string[] =>
  service ? [...whatever, nameOf(service), namespaceKey(service.namespace)] : whatever

/** Which services are in a namespace nobody has written down, and it happens seldom: all are asked about again. */
const touch = (key: string, touched: Set<string>) => touched.add(isUnsure(key) ? '' : key)

/** What policies call a target; '' for what is no service. */
export const serviceNameOf = (target: Accepted): string =>
  target.kind === 'service' ? nameOf(target.service) : ''

type Named = Pick<Service, 'kind' | 'namespace' | 'name'>

/** Each request asks for its service's several times. */
const names = new WeakMap<Named, string>()

export function nameOf(service: Named): string {
  const known = names.get(service)
  if (known !== undefined) return known
  const name = `${service.kind}/${service.namespace}/${service.name}`
  names.set(service, name)
  return name
}
