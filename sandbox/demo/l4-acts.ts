import type { Figures } from './figures.ts'
import { applyAll, deleteAll } from './apply.ts'
import { redirectRules } from './redirect-rules.ts'
import {
  ambient,
  type Context,
  everyPod,
  glanceMs,
  inventoryPays,
  label,
  listen,
  namespace,
  offered,
  orderPays,
  scripted,
} from './scene.ts'
import { difference, podsOf, tally, window } from './traffic.ts'
import { isCaptured, until } from './wait.ts'

type Enrolment = Pick<
  Figures,
  | 'enrolMs'
  | 'requests'
  | 'failedRequests'
  | 'plaintextFramesBefore'
  | 'plaintextFramesAfter'
  | 'hboneFramesAfter'
  | 'identitiesLogged'
>

/** The label, while the shop is open: plaintext before, TLS after, nothing lost. */
export async function enrol(context: Context): Promise<Enrolment> {
  const { tell, signal } = context
  tell.step('On the link between the nodes, before')
  const before = await listen(context)
  tell.detail(`${before.withMarker} of ${before.frames} frames show a card number, for instance:`)
  tell.detail(before.sample ?? '(none)')

  tell.step(`kubectl label namespace ${namespace} ${ambient}=ambient, while the traffic runs`)
  const start = await offered(context)
  const started = Date.now()
  await label(context, ambient, 'ambient')
  await everyPod(context, 'is captured', isCaptured)
  const enrolMs = Date.now() - started
  tell.detail(`every pod is captured after ${enrolMs} ms, none was restarted`)
  // Peers learn of a captured pod from the controller; until then they may still speak plaintext to it.
  await until('the link shows TLS only', async () => (await listen(context, glanceMs)).withMarker === 0, {
    signal,
  })
  const after = await listen(context)
  const { requests, failed } = difference(start, await offered(context))
  tell.detail(
    `${after.withMarker} of ${after.frames} frames show a card number, ${after.hbone} are TLS on port 15008`,
  )
  tell.detail(`${requests} requests meanwhile, ${failed} failed`)

  tell.step('ztunnel knows who talks to whom')
  const lines = await accessLog(context)
  const both = lines.filter((line) => line.includes('src.identity=') && line.includes('dst.identity='))
  tell.detail(both.at(-1) ?? '(no line)')
  return {
    enrolMs,
    requests,
    failedRequests: failed,
    plaintextFramesBefore: before.withMarker,
    plaintextFramesAfter: after.withMarker + after.withHttp,
    hboneFramesAfter: after.hbone,
    identitiesLogged: both.length,
  }
}

type Refusal = Pick<
  Figures,
  'deniedAfterPolicy' | 'askedAfterPolicy' | 'orderFailuresAfterPolicy' | 'policyNamed'
>

/** A policy at L4. */
export async function refuse(context: Context): Promise<Refusal> {
  const { client, tell, signal } = context
  tell.step('An AuthorizationPolicy: only the order service may talk to payment')
  const policy = await scripted('only-order-pays.yaml')
  await applyAll(client, policy, signal)
  await window(
    client,
    'the inventory is refused',
    inventoryPays,
    (seen) => seen.failed === seen.requests,
    signal,
  )
  const start = await tally(client, orderPays, signal)
  const refused = await window(client, 'the inventory asks again', inventoryPays, () => true, signal)
  const allowed = difference(start, await tally(client, orderPays, signal))
  tell.detail(`inventory → payment: ${refused.failed} of ${refused.requests} requests refused`)
  tell.detail(`order → payment: ${allowed.failed} of ${allowed.requests} requests refused`)
  const named = (await accessLog(context)).filter((line) => line.includes(`${namespace}/only-order-pays`))
  tell.detail(named.at(-1) ?? '(no line)')
  await deleteAll(client, policy, signal)
  await window(client, 'the inventory is served again', inventoryPays, (seen) => seen.failed === 0, signal)
  return {
    deniedAfterPolicy: refused.failed,
    askedAfterPolicy: refused.requests,
    orderFailuresAfterPolicy: allowed.failed,
    policyNamed: named.length,
  }
}

/** The label is taken off again. */
export async function release(
  context: Context,
): Promise<Pick<Figures, 'plaintextFramesAfterRelease' | 'rulesAfterRelease'>> {
  const { stage, tell } = context
  tell.step(`kubectl label namespace ${namespace} ${ambient}-`)
  await label(context, ambient, null)
  await everyPod(context, 'is released', (pod) => !isCaptured(pod))
  let rules: string[] = []
  await until('the rules are gone', async () => (rules = await redirectRules(stage.config)).length === 0, {
    signal: context.signal,
    timeoutMs: 10_000,
  }).catch(() => undefined) // told by the figure, not by an exception
  const after = await until(
    'plaintext is back',
    async () => {
      const counts = await listen(context)
      return counts.withMarker > 0 && counts
    },
    { signal: context.signal },
  )
  tell.detail(`${after.withMarker} of ${after.frames} frames show a card number again`)
  tell.detail(rules.length === 0 ? 'no redirect rule is left in any pod' : rules.join('\n'))
  return { plaintextFramesAfterRelease: after.withMarker, rulesAfterRelease: rules.length }
}

/** Lines of finished connections in the logs of all ztunnels. */
async function accessLog({ client, signal }: Context): Promise<string[]> {
  const lines: string[] = []
  for (const { metadata } of await podsOf(client, 'istio-system', 'ztunnel', signal)) {
    const pod = { namespace: 'istio-system', name: metadata.name ?? '' }
    const text = await client.logs(pod, { tailLines: 5_000 }, signal)
    lines.push(...text.split('\n').filter((line) => line.includes('\taccess\t')))
  }
  return lines
}
