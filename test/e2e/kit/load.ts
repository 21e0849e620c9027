import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { apply, eventually, logs, nameOf, pods, readyPods, remove } from './cluster.ts'

/** What tools/load.ts prints. */
type Tally = Readonly<{
  made: number
  ok: number
  /** Refused unseen, and sent again. */
  again: number
  failed: number
  skipped: number
  underWay: number
  reasons: Readonly<Record<string, number>>
}>

/** An app of two pods that leaves as apps should, and its Service. */
export const origin = (namespace: string, version = 'v1'): string => `
apiVersion: v1
kind: ServiceAccount
metadata: { name: origin, namespace: ${namespace} }
---
apiVersion: v1
kind: Service
metadata: { name: origin, namespace: ${namespace} }
spec:
  selector: { app: origin }
  ports:
    - { name: http, port: 8080 }
    - { name: http2, port: 8081 }
    - { name: grpc, port: 9090 }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: origin, namespace: ${namespace} }
spec:
  replicas: 2
  selector: { matchLabels: { app: origin } }
  template:
    metadata: { labels: { app: origin, version: ${version} } }
    spec:
      serviceAccountName: origin
      terminationGracePeriodSeconds: 20
      containers:
        - name: origin
          image: lateen:dev
          command: [node, /opt/lateen/test/e2e/tools/origin.ts]
          ports: [{ name: http, containerPort: 8080 }]
          readinessProbe: { httpGet: { path: /healthz, port: http }, periodSeconds: 1 }
`

const caller = ({ namespace, name, node, perSecond }: Wanted): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      nodeSelector: { kubernetes.io/hostname: ${node} }
      terminationGracePeriodSeconds: 1
      containers:
        - name: load
          image: lateen:dev
          command: [node, /opt/lateen/test/e2e/tools/load.ts]
          env: [{ name: TARGET, value: origin.${namespace} }, { name: RATE, value: "${perSecond}" }]
`

/** Calls that began in a phase end within this time after it, or are lost. */
const settleMs = 2_000

type Wanted = Readonly<{ namespace: string; name: string; node: string; perSecond: number }>

type Load = Readonly<{
  /** Its pod. */
  pod: string
  /** Runs `task` and sees that no call was lost meanwhile. */
  phase(t: Test, what: string, task: () => Promise<unknown>): Promise<void>
  stop(): Promise<void>
}>

/** Where a machine cannot make or answer all that is wanted, these parts of it are tried. */
const easings = [1, 0.4, 0.1]
/** Calls of so many seconds may be under way where it can. */
const keepsUpSeconds = 0.5

/** Calls the origin from a pod of that node; its connections are the ways of the moment, and stay. */
export async function startLoad(t: Test, wanted: Wanted): Promise<Load> {
  const { namespace } = wanted
  for (const [n, easing] of easings.entries()) {
    const perSecond = Math.ceil(wanted.perSecond * easing)
    const yaml = caller({ ...wanted, perSecond })
    await apply(yaml)
    const [pod] = await readyPods(namespace, `app=${wanted.name}`, 1)
    const name = pod ? nameOf(pod) : ''
    const tally = () => tallyOf(namespace, name)
    await eventually('calls are answered', async () => (await tally()).ok > 100)
    await delay(settleMs)
    const { underWay } = await tally()
    if (underWay <= perSecond * keepsUpSeconds || n === easings.length - 1)
      return { pod: name, phase: phaseOf(tally), stop: () => remove(yaml) }
    t.comment(`${underWay} calls are under way: ${perSecond} a second are too many for this machine`)
    await remove(yaml)
    await eventually(
      'they have ended',
      async () => (await pods(namespace, `app=${wanted.name}`)).length === 0,
    )
  }
  throw new Error('no rate is left')
}

async function tallyOf(namespace: string, pod: string): Promise<Tally> {
  const lines = await logs(namespace, pod, 200)
  return JSON.parse(lines.findLast((line) => line.startsWith('{')) ?? '{}') as Tally
}

const phaseOf =
  (tally: () => Promise<Tally>): Load['phase'] =>
  async (t, what, task) => {
    const before = await tally()
    const begun = Date.now()
    await task()
    await delay(settleMs)
    const after = await tally()
    const made = after.made - before.made
    const lost = after.failed - before.failed
    const reasons = Object.entries(after.reasons)
      .map(([why, count]) => `${count - (before.reasons[why] ?? 0)} × ${why}`)
      .filter((text) => !text.startsWith('0 '))
    const seconds = (Date.now() - begun) / 1_000
    const rest = `${after.again - before.again} refused unseen, ${after.skipped - before.skipped} not made`
    t.comment(`${what}: ${made} calls in ${seconds} s, ${rest}`)
    t.ok(made > seconds * minPerSecond, `${what}: calls were made all the while`)
    t.equal(lost, 0, `${what}: no call was lost${lost > 0 ? ` (${reasons.join('; ')})` : ''}`)
  }

/** However slow the machine is, fewer than these would prove nothing. */
const minPerSecond = 20
