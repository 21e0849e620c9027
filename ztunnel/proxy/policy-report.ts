import { formatAddress } from '#base'
import { type Connection, type Decision, type DryRun, explainDecision, explainDryRun } from '#policy'
import { Counter, type Logger, type Registry } from '#telemetry'

/** Tells of a verdict; called once per connection, not when it is judged again. */
export type ReportVerdict = (decision: Decision, connection: Connection) => void

/** Policies on trial that are counted by their names; those beyond are counted together. */
const maxPolicies = 1_000

type Parts = Readonly<{
  registry: Registry
  log: Logger
  /** ztunnel's AUTHZ_POLICY_INFO_LOGGING: verdicts are told at info, otherwise at debug. */
  atInfo: boolean
}>

/** Counts what policies on trial would have done, and logs verdicts (ztunnel: state.rs). */
export function policyReport({ registry, log, atInfo }: Parts): ReportVerdict {
  const level = atInfo ? 'info' : 'debug'
  const trials = new Counter({
    name: 'lateen_policy_dry_run_total',
    help: 'Connections that a policy on trial would have decided about (unstable)',
    labelNames: ['policy', 'outcome'],
    registers: [registry],
  })
  const audits = new Counter({
    name: 'lateen_policy_audit_total',
    help: 'Connections that a policy of action AUDIT matches (unstable)',
    labelNames: ['policy'],
    registers: [registry],
  })
  const counted = new Set<string>()
  const labelOf = (policy: string) => {
    if (counted.size < maxPolicies) counted.add(policy)
    return counted.has(policy) ? policy : 'other'
  }
  const count = ({ denying, allowing, considered }: DryRun) => {
    for (const policy of [...denying, ...considered])
      trials.inc({ policy: labelOf(policy), outcome: 'would-deny' })
    for (const policy of allowing) trials.inc({ policy: labelOf(policy), outcome: 'would-allow' })
  }
  return (decision, connection) => {
    const { dryRun, audited = [] } = decision
    if (dryRun) count(dryRun)
    for (const policy of audited) audits.inc({ policy: labelOf(policy) })
    // Somebody asked for these lines: that is all that an AUDIT policy does.
    if (audited.length > 0 && log.enabled('info'))
      log.info('audit', {
        ...fieldsOf(connection),
        verdict: decision.verdict,
        policies: audited.join(','),
      })
    if (!log.enabled(level)) return
    const fields = fieldsOf(connection)
    log[level](explainDecision(decision), { ...fields, verdict: decision.verdict, policy: decision.by })
    if (dryRun)
      log[level](`dry run: ${explainDryRun(dryRun)}`, {
        ...fields,
        verdict: dryRun.verdict,
        policies: [...dryRun.denying, ...dryRun.considered, ...dryRun.allowing].join(','),
      })
  }
}

const fieldsOf = ({ source, peer, destination }: Connection) => ({
  'src.ip': source,
  'src.identity': peer,
  'dst.addr': formatAddress(destination),
})
