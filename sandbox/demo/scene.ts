import { sleep } from '#base'
import { type KubeClient, kinds, type Pod } from '#kube'
import type { SandboxConfig } from '../config.ts'
import { netnsPath } from '../net/index.ts'
import { type Capture, startCapture } from './capture.ts'
import { type KubeObject, readObjects } from './manifests.ts'
import { repository } from './mesh.ts'
import type { FrameCounts } from './pcap.ts'
import { sum, type Tally, tally, window } from './traffic.ts'
import { until } from './wait.ts'

/** A sandbox as the story needs it. */
export type Stage = Readonly<{
  config: SandboxConfig
  up: (signal: AbortSignal) => Promise<void>
  down: () => Promise<void>
  leftovers: () => readonly string[]
}>
export type Narrator = Readonly<{ step: (text: string) => void; detail: (text: string) => void }>

/** What every act plays with. */
export type Context = Readonly<{ stage: Stage; client: KubeClient; tell: Narrator; signal: AbortSignal }>

export const namespace = 'coffee-shop'
export const ambient = 'istio.io/dataplane-mode'
/** Who asks whom in the shop, all the time. */
export const orderPays = { namespace, app: 'order', to: 'payment' }
const orderStock = { namespace, app: 'order', to: 'inventory' }
export const inventoryPays = { namespace, app: 'inventory', to: 'payment' }
const pairs = [orderPays, orderStock, inventoryPays] as const

/** What the shop sends with each payment, see sandbox/images/coffee-shop/order.ts. */
const marker = 'credit-card-4111-1111-1111-1111'
/** Captures before and after are of the same length, so that their figures can be compared. */
const captureMs = 2_000
/** Long enough to see some of what the shop sends. */
export const glanceMs = 500

/** Objects of a file beside this one. */
export const scripted = (file: string): Promise<KubeObject[]> =>
  readObjects(`${repository}sandbox/demo/${file}`)

/** Watches the link between the nodes until it is disposed. */
export function watchLink({ stage, signal }: Context): Promise<Capture> {
  const [node] = stage.config.nodes
  return startCapture({ netns: netnsPath(node?.netns ?? ''), device: 'eth0', marker }, signal)
}

/** What crosses the link between the nodes in a while. */
export async function listen(context: Context, ms = captureMs): Promise<FrameCounts> {
  await using capture = await watchLink(context)
  await sleep(ms, context.signal)
  return { ...capture.counts }
}

/** What all of the shop has asked by now. */
export async function offered({ client, signal }: Context): Promise<Tally> {
  const [first, ...rest] = await Promise.all(pairs.map((pair) => tally(client, pair, signal)))
  return rest.reduce(sum, first ?? { requests: 0, failed: 0, lastErrors: [] })
}

/** Waits until each caller of the shop has had a while without a failure. */
export const everybodyServed = ({ client, signal }: Context) =>
  Promise.all(
    pairs.map((pair) =>
      window(client, `${pair.app} reaches ${pair.to}`, pair, ({ failed }) => failed === 0, signal),
    ),
  )

/** `kubectl label namespace`; null takes the label off. */
export const label = ({ client, signal }: Context, key: string, value: string | null) =>
  client.mergePatch(
    { kind: kinds.Namespace, name: namespace },
    { metadata: { labels: { [key]: value } } },
    { signal },
  )

export const everyPod = ({ client, signal }: Context, what: string, holds: (pod: Pod) => boolean) =>
  until(
    `every pod of the shop ${what}`,
    async () => (await client.list(kinds.Pod, { namespace }, signal)).items.every(holds),
    { signal },
  )
