import { setTimeout as delay } from 'node:timers/promises'
import type { V1Pod } from '@kubernetes/client-node'
import { apply, eventually, logs, nameOf, readyPods } from './cluster.ts'

type Tally = Readonly<{
  requests: number
  failed: number
  answeredOverIpv6: number
  /** How long the oldest request under way has waited, at the end. */
  oldestMs: number
  lastError?: string
}>
const none: Tally = { requests: 0, failed: 0, answeredOverIpv6: 0, oldestMs: 0 }

/** What travels in each request, so that a capture can look for it. */
export const marker = 'e2e-marker-4111-1111-1111-1111'

type App = Readonly<{
  name: string
  node: string
  env?: Record<string, string>
  annotations?: Record<string, string>
}>

/** A Deployment of one pod on a given node, with its ServiceAccount and dual-stack Service. */
export const app = (namespace: string, { name, node, env = {}, annotations = {} }: App): string => `
apiVersion: v1
kind: ServiceAccount
metadata: { name: ${name}, namespace: ${namespace} }
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  ipFamilyPolicy: PreferDualStack
  selector: { app: ${name} }
  ports: [{ name: http, port: 8080, targetPort: http }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata:
      labels: { app: ${name} }
      annotations: ${JSON.stringify(annotations)}
    spec:
      serviceAccountName: ${name}
      nodeSelector: { kubernetes.io/hostname: ${node} }
      terminationGracePeriodSeconds: 2
      containers:
        - name: ${name}
          image: lateen:dev
          command: [node, /opt/lateen/sandbox/images/coffee-shop/${name}.ts]
          env: ${JSON.stringify(Object.entries({ MARKER: marker, ...env }).map(([key, value]) => ({ name: key, value })))}
          ports: [{ name: http, containerPort: 8080 }]
          readinessProbe: { httpGet: { path: /healthz, port: http }, periodSeconds: 1 }
`

type Shop = Readonly<{ order: V1Pod; payment: V1Pod; inventory: V1Pod }>

/** The coffee shop with its caller on one node and its callees on the other; returns when traffic flows without failure. */
export async function openShop(
  namespace: string,
  [here, there]: readonly [string, string],
  ordersPerSecond = 20,
): Promise<Shop> {
  await apply(
    [
      app(namespace, { name: 'payment', node: there }),
      app(namespace, { name: 'inventory', node: there, env: { PRICES_PER_SECOND: '5' } }),
      app(namespace, { name: 'order', node: here, env: { ORDERS_PER_SECOND: String(ordersPerSecond) } }),
    ].join('---'),
  )
  const [order, payment, inventory] = await Promise.all(
    ['order', 'payment', 'inventory'].map(async (name) => (await readyPods(namespace, `app=${name}`, 1))[0]),
  )
  if (!order || !payment || !inventory) throw new Error('the shop did not open')
  await flowing(order, 'payment')
  return { order, payment, inventory }
}

const linesOf = (pod: V1Pod) => logs(pod.metadata?.namespace ?? '', nameOf(pod))

/** What a caller has seen by now: it prints its tallies again and again, and one that it prints from now on is waited for. */
async function tallies(pod: V1Pod): Promise<Record<string, Tally>> {
  const { length } = await linesOf(pod)
  const line = await eventually(`${nameOf(pod)} counts on`, async () => {
    const lines = await linesOf(pod)
    return lines.length > length && lines.at(-1)
  })
  return JSON.parse(line) as Record<string, Tally>
}

const windowMs = 1_500

/** Waits until some time passes with requests, without a failure, and without one that has waited since before. */
export const flowing = (pod: V1Pod, to: string, timeoutMs = 90_000): Promise<Tally> =>
  eventually(
    `${nameOf(pod)} reaches ${to} without failure`,
    async () => {
      const seen = await during(pod, to, () => delay(windowMs))
      return seen.requests > 0 && seen.failed === 0 && seen.oldestMs < windowMs && seen
    },
    timeoutMs,
  )

/** What a caller saw of one destination while `task` ran. */
export async function during(pod: V1Pod, to: string, task: () => Promise<unknown>): Promise<Tally> {
  const before = (await tallies(pod))[to] ?? none
  await task()
  const after = (await tallies(pod))[to] ?? none
  return {
    requests: after.requests - before.requests,
    failed: after.failed - before.failed,
    answeredOverIpv6: after.answeredOverIpv6 - before.answeredOverIpv6,
    oldestMs: after.oldestMs,
    ...(after.lastError === undefined ? {} : { lastError: after.lastError }),
  }
}
