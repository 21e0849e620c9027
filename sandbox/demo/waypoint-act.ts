import { isRecord } from '#base'
import { kinds } from '#kube'
import { applyAll, deleteAll } from './apply.ts'
import { ask, told } from './ask.ts'
import type { Figures } from './figures.ts'
import {
  type Context,
  inventoryPays,
  label,
  namespace,
  offered,
  everybodyServed,
  scripted,
  watchLink,
} from './scene.ts'
import { difference, tally, window } from './traffic.ts'
import { until } from './wait.ts'
import { accessLines, requestSeries, total, waypointPods } from './waypoint-record.ts'

const useWaypoint = 'istio.io/use-waypoint'
const espresso = 'http://inventory:8080/stock/espresso'
const price = 'http://payment:8080/price'
const receipt = 'http://payment:8080/receipt'
/** Enough to tell 90/10 from chance. */
const canaryAsked = 2_000
const testerAsked = 100
const priceAsked = 200
const receiptsAsked = 4
const plainAsked = 200

type Act = Arrival &
  Canary &
  Chaos &
  Leaving &
  Pick<Figures, 'requestsOfAct' | 'failuresOfAct' | 'plaintextFramesOfAct' | 'hboneFramesOfAct'>

/** A waypoint comes, routes, faults, times out and goes, while the shop is open and the link is watched. */
export async function playWaypoint(context: Context): Promise<Act> {
  const { tell } = context
  await using capture = await watchLink(context)
  const start = await offered(context)
  const acts = {
    ...(await meanwhile(context, arrive)),
    ...(await meanwhile(context, canary)),
    ...(await meanwhile(context, chaos)),
    ...(await meanwhile(context, leave)),
  }
  const all = difference(start, await offered(context))
  const { withMarker, withHttp, hbone, frames } = capture.counts
  tell.detail(
    `since the waypoint was applied: ${all.requests} requests of the shop, ${all.failed} failed, ${acts.faultsOfAct} of them by the fault`,
  )
  tell.detail(
    `${withMarker} of ${frames} frames on the link show a card number, ${hbone} are TLS on port 15008`,
  )
  return {
    ...acts,
    requestsOfAct: all.requests,
    failuresOfAct: all.failed,
    plaintextFramesOfAct: withMarker + withHttp,
    hboneFramesOfAct: hbone,
  }
}

/** Plays a scene and tells what the shop saw of it. */
async function meanwhile<T>(context: Context, scene: (context: Context) => Promise<T>): Promise<T> {
  const start = await offered(context)
  const result = await scene(context)
  const { requests, failed, lastErrors } = difference(start, await offered(context))
  context.tell.detail(`${requests} requests of the shop meanwhile, ${failed} failed`)
  if (failed > 0) context.tell.detail(`why: ${lastErrors.join(', ')}`)
  return result
}

type Arrival = Pick<Figures, 'waypointMs'>

async function arrive(context: Context): Promise<Arrival> {
  const { client, tell, signal } = context
  tell.step(`istioctl waypoint apply -n ${namespace} --enroll-namespace --wait, while the traffic runs`)
  const started = Date.now()
  await applyAll(client, await scripted('waypoint.yaml'), signal)
  await until('the waypoint is programmed', () => isProgrammed(context), { signal })
  await label(context, useWaypoint, 'waypoint')
  const through = async () => (await accessLines(context, ' 200 - via_upstream ')).length > 0
  await until('requests come through the waypoint', through, { signal })
  const waypointMs = Date.now() - started
  const [pod] = await waypointPods(context)
  tell.detail(`requests come through ${pod?.metadata.name} on ${pod?.spec?.nodeName} after ${waypointMs} ms`)
  return { waypointMs }
}

async function isProgrammed({ client, signal }: Context): Promise<boolean> {
  const { status } = await client.get({ kind: kinds.Gateway, namespace, name: 'waypoint' }, signal)
  const conditions: unknown = isRecord(status) ? status['conditions'] : undefined
  return (
    Array.isArray(conditions) &&
    conditions.some((one) => isRecord(one) && one['type'] === 'Programmed' && one['status'] === 'True')
  )
}

type Canary = Pick<
  Figures,
  | 'canaryAsked'
  | 'canaryV1'
  | 'canaryV2'
  | 'testerAsked'
  | 'testerV2'
  | 'canaryLogged'
  | 'canaryCounted'
  | 'receiptsAsked'
  | 'receiptsBefore'
>

async function canary(context: Context): Promise<Canary> {
  const { client, tell, signal } = context
  tell.step('kubectl apply -f sandbox/demo/canary.yaml: an HTTPRoute, inventory 90 % v1, 10 % v2')
  await applyAll(client, await scripted('canary.yaml'), signal)
  const asTester = { url: espresso, header: 'x-tester: yes' }
  await until(
    'the route is obeyed',
    async () => (await ask(context, { ...asTester, times: 16 })).answers['200 v2'] === 16,
    { signal },
  )
  const [split, receipts] = await Promise.all([
    ask(context, { times: canaryAsked, url: espresso }),
    // How slow a receipt is as long as nobody minds, for the scene after this one.
    ask(context, { times: receiptsAsked, url: receipt }),
  ])
  tell.detail(`${canaryAsked} requests: ${told(split)}`)
  const tester = await ask(context, { ...asTester, times: testerAsked })
  tell.detail(`${testerAsked} requests with "${asTester.header}": ${told(tester)}`)
  const toV2 = { destination_workload: 'inventory-v2', response_code: '200' }
  const series = await requestSeries(context, { ...toV2, source_workload: 'order' })
  const lines = await accessLines(context, 'inventory-v2.coffee-shop.svc.cluster.local', 'via_upstream')
  tell.detail(`the waypoint's access log and metrics show the canary:`)
  tell.detail(lines.at(-1) ?? '(no line)')
  tell.detail(series.at(-1) ?? '(no series)')
  return {
    canaryAsked,
    canaryV1: split.answers['200 v1'] ?? 0,
    canaryV2: split.answers['200 v2'] ?? 0,
    testerAsked,
    testerV2: tester.answers['200 v2'] ?? 0,
    canaryLogged: lines.length,
    canaryCounted: total(series),
    receiptsAsked,
    receiptsBefore: receipts.answers['200'] ?? 0,
  }
}

type Chaos = Pick<
  Figures,
  'priceAsked' | 'priceFaults' | 'faultsLogged' | 'receiptsTimedOut' | 'timeoutsLogged' | 'faultsOfAct'
>

async function chaos(context: Context): Promise<Chaos> {
  const { client, tell, signal } = context
  tell.step('kubectl apply -f sandbox/demo/chaos.yaml: a VirtualService, payment fails and times out')
  const objects = await scripted('chaos.yaml')
  const before = await tally(client, inventoryPays, signal)
  await applyAll(client, objects, signal)
  const hit = async () => difference(before, await tally(client, inventoryPays, signal)).failed > 0
  await until('the fault hits the shop', hit, { signal })
  const [prices, receipts] = await Promise.all([
    ask(context, { times: priceAsked, url: price }),
    ask(context, { times: receiptsAsked, url: receipt }),
  ])
  tell.detail(`${priceAsked} prices, of which half shall fail: ${told(prices)}`)
  tell.detail(
    `${receiptsAsked} receipts, which take 1.5 s and have 0.5 s: ${told(receipts)}, the last after ${receipts.slowestMs} ms`,
  )
  // A line is written after its answer: the last ones may still be on their way.
  const timedOut = () => accessLines(context, ' UT response_timeout ')
  await until('the timeouts are in the access log', async () => (await timedOut()).length > 0, { signal })
  const timeouts = await timedOut()
  const faults = await accessLines(context, ' FI fault_filter_abort ')
  tell.detail(faults.at(-1) ?? '(no line)')
  tell.detail(timeouts.at(-1) ?? '(no line)')
  await deleteAll(client, objects, signal)
  await window(client, 'the shop is served again', inventoryPays, (seen) => seen.failed === 0, signal)
  const ofShop = await Promise.all(
    ['inventory-v1', 'inventory-v2'].map((source_workload) =>
      requestSeries(context, { source_workload, response_flags: 'FI' }),
    ),
  )
  return {
    priceAsked,
    priceFaults: prices.answers['503'] ?? 0,
    faultsLogged: faults.length,
    receiptsTimedOut: receipts.answers['504'] ?? 0,
    timeoutsLogged: timeouts.length,
    faultsOfAct: total(ofShop.flat()),
  }
}

type Leaving = Pick<Figures, 'plainAsked' | 'plainV1' | 'plainV2'>

async function leave(context: Context): Promise<Leaving> {
  const { client, tell, signal } = context
  tell.step(`istioctl waypoint delete waypoint -n ${namespace}, while the traffic runs`)
  const started = Date.now()
  await deleteAll(client, await scripted('waypoint.yaml'), signal)
  await until('the waypoint has gone', async () => (await waypointPods(context)).length === 0, { signal })
  tell.detail(`it has gone after ${Date.now() - started} ms, the route stands and nobody obeys it:`)
  // On a connection each: at L4 it is connections that are balanced.
  const [plain] = await Promise.all([
    ask(context, { times: plainAsked, url: espresso, header: 'connection: close' }),
    everybodyServed(context),
  ])
  tell.detail(`${plainAsked} requests: ${told(plain)}`)
  await deleteAll(client, await scripted('canary.yaml'), signal)
  await label(context, useWaypoint, null)
  return { plainAsked, plainV1: plain.answers['200 v1'] ?? 0, plainV2: plain.answers['200 v2'] ?? 0 }
}
