import type { PodProbe } from '../pod/pod.ts'

/** Answers in a row of one kind, and what the probe last said. */
type Tally = Readonly<{ passes: number; failures: number; verdict: boolean | undefined }>
export const emptyTally: Tally = { passes: 0, failures: 0, verdict: undefined }

/** One more answer. The verdict changes only after as many of the same in a row as the probe asks for. */
export function judge(
  tally: Tally,
  passed: boolean,
  { successThreshold, failureThreshold }: Pick<PodProbe, 'successThreshold' | 'failureThreshold'>,
): Tally {
  const passes = passed ? tally.passes + 1 : 0
  const failures = passed ? 0 : tally.failures + 1
  const verdict = passes >= successThreshold ? true : failures >= failureThreshold ? false : tally.verdict
  return { passes, failures, verdict }
}
