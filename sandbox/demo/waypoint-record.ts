import { type KubeClient, kinds, type Pod } from '#kube'
import { execIn } from './exec.ts'
import { type Context, namespace } from './scene.ts'

/** Pods of the waypoint, those that are leaving included. */
export async function waypointPods({ client, signal }: { client: KubeClient; signal: AbortSignal }) {
  const labelSelector = 'gateway.networking.k8s.io/gateway-name=waypoint'
  return (await client.list(kinds.Pod, { namespace, labelSelector }, signal)).items
}

/** Lines of the access logs of the waypoint that hold all of `words`. */
export async function accessLines(context: Context, ...words: readonly string[]): Promise<readonly string[]> {
  const lines: string[] = []
  for (const { metadata } of await waypointPods(context)) {
    const pod = { namespace, name: metadata.name ?? '' }
    const text = await context.client.logs(pod, { tailLines: 10_000 }, context.signal)
    lines.push(...text.split('\n').filter((line) => words.every((word) => line.includes(word))))
  }
  return lines
}

/** Asked inside the pod: from outside, only the mesh gets there. */
const metricsUrl = 'http://127.0.0.1:15020/stats/prometheus'
const print = `fetch('${metricsUrl}').then(async (answer) => process.stdout.write(await answer.text()))`

/** Series of `istio_requests_total` of the waypoint that have all of these labels, as they stand in its metrics. */
export async function requestSeries(
  context: Context,
  labels: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const ofPod = async (pod: Pod) =>
    (await execIn(context.stage.config.kubeconfig, pod, ['node', '-e', print], context.signal)).split('\n')
  const lines = (await Promise.all((await waypointPods(context)).map(ofPod))).flat()
  const wanted = Object.entries({ reporter: 'waypoint', ...labels }).map(
    ([key, value]) => `${key}="${value}"`,
  )
  return lines.filter(
    (line) => line.startsWith('istio_requests_total{') && wanted.every((label) => line.includes(label)),
  )
}

/** The requests that series count. */
export const total = (series: readonly string[]): number =>
  series.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
