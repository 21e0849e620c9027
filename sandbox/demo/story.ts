import { sleep } from '#base'
import { KubeClient, kinds, loadCluster } from '#kube'
import type { SandboxConfig } from '../config.ts'
import { netnsPath } from '../net/index.ts'
import { applyAll, deleteAll } from './apply.ts'
import { startCapture } from './capture.ts'
import type { Figures } from './figures.ts'
import { readObjects } from './manifests.ts'
import { installMesh, repository } from './mesh.ts'
import type { FrameCounts } from './pcap.ts'
import { redirectRules } from './redirect-rules.ts'
import { difference, podsOf, sum, tally, window } from './traffic.ts'
import { isCaptured, rolledOut, until } from './wait.ts'

/** A sandbox as the story needs it. */
export type Stage = Readonly<{
  config: SandboxConfig
  up: (signal: AbortSignal) => Promise<void>
  down: () => Promise<void>
  leftovers: () => readonly string[]
}>
export type Narrator = Readonly<{ step: (text: string) => void; detail: (text: string) => void }>

type Context = Readonly<{ stage: Stage; client: KubeClient; tell: Narrator; signal: AbortSignal }>

const namespace = 'coffee-shop'
/** What the shop sends with each payment, see sandbox/images/coffee-shop/order.ts. */
const marker = 'credit-card-4111-1111-1111-1111'
/** Captures before and after are of the same length, so that their figures can be compared. */
const captureMs = 2_000
const ambient = 'istio.io/dataplane-mode'
const orderPays = { namespace, app: 'order', to: 'payment' }
const orderStock = { namespace, app: 'order', to: 'inventory' }
const inventoryPays = { namespace, app: 'inventory', to: 'payment' }

/** Tells the story on an empty machine. The stage is taken down again, also after a failure, unless `keep`. */
export async function tellStory(
  stage: Stage,
  tell: Narrator,
  { keep, signal }: { keep: boolean; signal: AbortSignal },
): Promise<Figures> {
  const started = Date.now()
  let taken = false
  try {
    tell.step('A cluster: an embedded Kubernetes API, two nodes, DNS, Service addresses')
    await stage.up(signal)
    const upMs = Date.now() - started
    tell.detail(`ready after ${upMs} ms, KUBECONFIG=${stage.config.kubeconfig}`)
    using client = new KubeClient(loadCluster(stage.config.kubeconfig))
    const context: Context = { stage, client, tell, signal }
    const figures = {
      upMs,
      ...(await prepare(context)),
      ...(await enrol(context)),
      ...(await refuse(context)),
      ...(await release(context)),
    }
    if (keep) return { ...figures, leftoversAfterDown: undefined, totalMs: Date.now() - started }
    tell.step('Everything is taken down')
    taken = true
    await stage.down()
    const left = stage.leftovers()
    tell.detail(left.length === 0 ? 'no namespace, mount, rule or process is left' : left.join('\n'))
    return { ...figures, leftoversAfterDown: left.length, totalMs: Date.now() - started }
  } catch (error) {
    // What went wrong first is what the user has to read.
    if (!taken && !keep) await stage.down().catch(() => undefined)
    throw error
  }
}

async function prepare({ client, tell, signal }: Context): Promise<Pick<Figures, 'meshMs'>> {
  tell.step('The mesh: controller, CNI agents and ztunnels, from manifests/')
  const started = Date.now()
  await installMesh(client, signal)
  const meshMs = Date.now() - started
  tell.detail(`every part is ready after ${meshMs} ms`)
  tell.step('A coffee shop: order → payment, order → inventory v1 and v2, inventory → payment')
  await applyAll(client, await readObjects(`${repository}sandbox/demo/coffee-shop.yaml`), signal)
  await rolledOut(client, namespace, signal)
  for (const pair of [orderPays, orderStock, inventoryPays])
    await window(client, `${pair.app} reaches ${pair.to}`, pair, (seen) => seen.failed === 0, signal)
  const { items } = await client.list(kinds.Pod, { namespace }, signal)
  for (const pod of items)
    tell.detail(
      `${pod.metadata.name} on ${pod.spec?.nodeName}, ${pod.status?.podIPs?.map(({ ip }) => ip).join(', ')}`,
    )
  return { meshMs }
}

/** What crosses the link between the nodes in a while. */
async function listen({ stage, signal }: Context): Promise<FrameCounts> {
  const [node] = stage.config.nodes
  await using capture = await startCapture(
    { netns: netnsPath(node?.netns ?? ''), device: 'eth0', marker },
    signal,
  )
  await sleep(captureMs, signal)
  return { ...capture.counts }
}

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

async function enrol(context: Context): Promise<Enrolment> {
  const { client, tell, signal } = context
  const offered = async () =>
    sum(
      sum(await tally(client, orderPays, signal), await tally(client, orderStock, signal)),
      await tally(client, inventoryPays, signal),
    )
  tell.step('On the link between the nodes, before')
  const before = await listen(context)
  tell.detail(`${before.withMarker} of ${before.frames} frames show a card number, for instance:`)
  tell.detail(before.sample ?? '(none)')

  tell.step(`kubectl label namespace ${namespace} ${ambient}=ambient, while the traffic runs`)
  const start = await offered()
  const started = Date.now()
  await label(context, 'ambient')
  await everyPod(context, 'is captured', isCaptured)
  const enrolMs = Date.now() - started
  tell.detail(`every pod is captured after ${enrolMs} ms, none was restarted`)
  // Peers learn of a captured pod from the controller; until then they may still speak plaintext to it.
  await until('the link shows TLS only', async () => (await listen(context)).withMarker === 0, { signal })
  const after = await listen(context)
  const { requests, failed } = difference(start, await offered())
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

async function refuse(context: Context): Promise<Refusal> {
  const { client, tell, signal } = context
  tell.step('An AuthorizationPolicy: only the order service may talk to payment')
  const policy = await readObjects(`${repository}sandbox/demo/only-order-pays.yaml`)
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

async function release(
  context: Context,
): Promise<Pick<Figures, 'plaintextFramesAfterRelease' | 'rulesAfterRelease'>> {
  const { stage, tell } = context
  tell.step(`kubectl label namespace ${namespace} ${ambient}-`)
  await label(context, null)
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

const label = ({ client, signal }: Context, value: string | null) =>
  client.mergePatch(
    { kind: kinds.Namespace, name: namespace },
    { metadata: { labels: { [ambient]: value } } },
    { signal },
  )

const everyPod = (
  { client, signal }: Context,
  what: string,
  holds: (pod: Parameters<typeof isCaptured>[0]) => boolean,
) =>
  until(
    `every pod of the shop ${what}`,
    async () => (await client.list(kinds.Pod, { namespace }, signal)).items.every(holds),
    { signal },
  )

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
