import { availableParallelism, loadavg } from 'node:os'
import { KubeClient, kinds, loadCluster } from '#kube'
import { applyAll } from './apply.ts'
import type { Figures } from './figures.ts'
import { enrol, refuse, release } from './l4-acts.ts'
import { playWaypoint } from './waypoint-act.ts'
import { installMesh } from './mesh.ts'
import { type Context, everybodyServed, namespace, type Narrator, scripted, type Stage } from './scene.ts'
import { rolledOut } from './wait.ts'

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
      ...(await playWaypoint(context)),
      ...(await release(context)),
    }
    if (keep) return { ...figures, leftoversAfterDown: undefined, ...pace(started) }
    tell.step('Everything is taken down')
    taken = true
    await stage.down()
    const left = stage.leftovers()
    tell.detail(left.length === 0 ? 'no namespace, mount, rule or process is left' : left.join('\n'))
    return { ...figures, leftoversAfterDown: left.length, ...pace(started) }
  } catch (error) {
    // What went wrong first is what the user has to read.
    if (!taken && !keep) await stage.down().catch(() => undefined)
    throw error
  }
}

const pace = (started: number): Pick<Figures, 'totalMs' | 'loadPerProcessor'> => ({
  totalMs: Date.now() - started,
  loadPerProcessor: (loadavg()[0] ?? 0) / availableParallelism(),
})

async function prepare(context: Context): Promise<Pick<Figures, 'meshMs'>> {
  const { client, tell, signal } = context
  tell.step('The mesh: controller, CNI agents and ztunnels, from manifests/')
  const started = Date.now()
  await installMesh(client, signal)
  const meshMs = Date.now() - started
  tell.detail(`every part is ready after ${meshMs} ms`)
  tell.step('A coffee shop: order → payment, order → inventory v1 and v2, inventory → payment')
  await applyAll(client, await scripted('coffee-shop.yaml'), signal)
  await rolledOut(client, namespace, signal)
  await everybodyServed(context)
  const { items } = await client.list(kinds.Pod, { namespace }, signal)
  for (const pod of items)
    tell.detail(
      `${pod.metadata.name} on ${pod.spec?.nodeName}, ${pod.status?.podIPs?.map(({ ip }) => ip).join(', ')}`,
    )
  return { meshMs }
}
