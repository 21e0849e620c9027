import { security } from '#wire'

/** The extension that marks a policy of action AUDIT. */
const extension = 'lateen.io/audit'

const impossible: security.Clause = { matches: [security.Match.decode(new Uint8Array())] }

/**
 * A policy that only tells of the connections that its rules match, as the wire has no word for it: a DENY on trial.
 * Whoever knows neither trials nor the extension (ztunnel before 1.29 would deny) is kept from acting on it by a last
 * clause in every rule that is never true; whoever knows the extension leaves that clause out.
 */
export const auditPolicy = (policy: security.Authorization): security.Authorization => ({
  ...policy,
  action: security.Action.DENY,
  dryRun: true,
  rules: policy.rules.map(({ clauses }) => ({ clauses: [...clauses, impossible] })),
  extensions: [{ name: extension, config: undefined }],
})

/** On trial, so whatever else it says it takes no part in a verdict. */
export const isAudit = ({ dryRun, extensions }: security.Authorization): boolean =>
  dryRun && extensions.length === 1 && extensions[0]?.name === extension
