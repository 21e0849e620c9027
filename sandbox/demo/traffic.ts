import { z } from 'zod'
import { sleep } from '#base'
import { type KubeClient, kinds, type Pod } from '#kube'
import { until } from './wait.ts'

const Tallies = z.record(
  z.string(),
  z.object({
    requests: z.number(),
    underWay: z.number(),
    failed: z.number(),
    lastError: z.string().optional(),
  }),
)
/** Requests that have ended and failures, of all pods of a caller; why the last ones failed, ever since the shop opened. */
export type Tally = Readonly<{ requests: number; failed: number; lastErrors: readonly string[] }>

/** Pods of an application of the shop that are not being deleted. */
export async function podsOf(
  client: KubeClient,
  namespace: string,
  app: string,
  signal: AbortSignal,
): Promise<Pod[]> {
  const { items } = await client.list(kinds.Pod, { namespace, labelSelector: `app=${app}` }, signal)
  return items.filter((pod) => pod.metadata.deletionTimestamp === undefined)
}

/** What the pods of `app` have seen of `to` since they started, from the last line that each printed. */
export async function tally(
  client: KubeClient,
  { namespace, app, to }: Readonly<{ namespace: string; app: string; to: string }>,
  signal: AbortSignal,
): Promise<Tally> {
  let requests = 0
  let failed = 0
  const lastErrors: string[] = []
  for (const { metadata } of await podsOf(client, namespace, app, signal)) {
    const text = await client.logs({ namespace, name: metadata.name ?? '' }, { tailLines: 1 }, signal)
    const seen = Tallies.parse(JSON.parse(text.trim() || '{}'))[to]
    requests += seen ? seen.requests - seen.underWay : 0
    failed += seen?.failed ?? 0
    if (seen?.lastError !== undefined) lastErrors.push(`${app} → ${to}: ${seen.lastError}`)
  }
  return { requests, failed, lastErrors }
}

export const difference = (before: Tally, after: Tally): Tally => ({
  requests: after.requests - before.requests,
  failed: after.failed - before.failed,
  lastErrors: after.lastErrors.filter((error) => !before.lastErrors.includes(error)),
})

export const sum = (a: Tally, b: Tally): Tally => ({
  requests: a.requests + b.requests,
  failed: a.failed + b.failed,
  lastErrors: [...a.lastErrors, ...b.lastErrors],
})

/** Longer than callers take between two printed tallies, so that the next figures are new ones. */
const windowMs = 1_200
/** A window may begin at any of these steps. */
const stepMs = 200
/** So many requests tell apart whether all, some or none fail, also where half of them would. */
const enough = 16

/** Waits for a window with enough requests in which `holds`; returns it. */
export async function window(
  client: KubeClient,
  what: string,
  of: Readonly<{ namespace: string; app: string; to: string }>,
  holds: (seen: Tally) => boolean,
  signal: AbortSignal,
): Promise<Tally> {
  const begun = [{ at: Date.now(), tally: await tally(client, of, signal) }]
  return until(
    what,
    async () => {
      await sleep(stepMs, signal)
      const now = { at: Date.now(), tally: await tally(client, of, signal) }
      const seen = begun
        .filter(({ at }) => now.at - at >= windowMs)
        .map((start) => difference(start.tally, now.tally))
        .findLast(({ requests }) => requests >= enough)
      begun.push(now)
      return seen !== undefined && holds(seen) && seen
    },
    { signal },
  )
}
