import { isDeepStrictEqual } from 'node:util'
import { isRecord } from '#base'
import type { Condition } from '#kube'
import { conditionsOf, mergedConditions } from '../reconcile/index.ts'
import { gatewayGroup } from './listeners.ts'
import type { GatewayStatus } from './status.ts'

const gatewayTypes = ['Accepted', 'Programmed']
const listenerTypes = ['Accepted', 'Programmed', 'Conflicted', 'ResolvedRefs']

/** The status to write, or undefined when it says so already; times of conditions that stay are kept. */
export function statusPatch(
  existing: unknown,
  { conditions, addresses, listeners }: GatewayStatus,
  generation: number | undefined,
  now: string,
): Readonly<Record<string, unknown>> | undefined {
  const held = isRecord(existing) ? existing : {}
  const merged = (of: unknown, types: readonly string[], wanted: readonly Condition[]) =>
    mergedConditions(conditionsOf(of), { types, conditions: wanted }, generation, now) ?? conditionsOf(of)
  const before: readonly unknown[] = Array.isArray(held['listeners']) ? held['listeners'] : []
  const wanted = {
    conditions: merged(held, gatewayTypes, conditions),
    addresses,
    listeners: listeners.map(({ listener: { name }, supportedKinds, attachedRoutes, conditions: own }) => ({
      name,
      supportedKinds: supportedKinds.map((kind) => ({ group: gatewayGroup, kind })),
      attachedRoutes,
      conditions: merged(
        before.find((other) => isRecord(other) && other['name'] === name),
        listenerTypes,
        own,
      ),
    })),
  }
  const same = isDeepStrictEqual(wanted, {
    conditions: conditionsOf(held),
    addresses: held['addresses'] ?? [],
    listeners: before,
  })
  return same ? undefined : wanted
}
