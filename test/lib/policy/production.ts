import { ip } from '#base'
import { parseSpiffeId } from '#identity'
import {
  type Authorization,
  decide,
  decodeAuthorization,
  noPolicies,
  type Policies,
  policiesFor,
  policyName,
  updatePolicies,
} from '#policy'
import type { Answer, Call, Resource, Workload } from './oracle.ts'

/** The same in every run, so that a failure can be had again; others by hand: `POLICY_SEED=… node …`. */
export const seed = Number(process.env['POLICY_SEED'] ?? 20_261_121)

const connectionOf = (c: Call) => ({
  source: ip(c.source),
  peer: c.peer === undefined ? undefined : parseSpiffeId(c.peer),
  destination: { address: ip(c.address), port: c.port },
})

/** The evaluator under test, by the way that a resource takes to a verdict. */
export const production = (
  resources: readonly Resource[],
  to: Workload,
  harm: (p: Authorization) => Authorization = (p) => p,
) =>
  judgeBy(
    updatePolicies(
      noPolicies,
      resources.map(({ name, bytes }) => harm(decodeAuthorization(name, bytes))),
      [],
    ),
    to,
  )

export function judgeBy(held: Policies, { namespace, policies: named }: Workload) {
  const authorizationPolicies = named.map((name) => policyName('demo', name.replace('demo/', '')))
  const applicable = policiesFor(held, { namespace, authorizationPolicies })
  return (c: Call): Answer & { by: string } => {
    const { verdict, by, dryRun } = decide(applicable, connectionOf(c))
    return { verdict, by, denying: [...(dryRun?.denying ?? [])], allowing: [...(dryRun?.allowing ?? [])] }
  }
}
