import { KubeClient, kinds } from '#kube'
import type { World } from './scene.ts'

/**
 * The least that any controller does at its start: fetch the pods and parse them. There is no other control plane here to
 * compare with, so this says how much of a cold start is ours.
 */
export async function baseline({ apiPort, size }: World): Promise<string> {
  using client = new KubeClient({
    server: new URL(`http://127.0.0.1:${apiPort}`),
    insecure: false,
    namespace: 'default',
    credentials: () => ({ token: 'bench' }),
  })
  const before = process.cpuUsage()
  const { items } = await client.list(kinds.Pod)
  const { user, system } = process.cpuUsage(before)
  const bytes = JSON.stringify(items[0]).length
  return `${size.pods} pods of ${(bytes / 1024).toFixed(1)} KiB listed and parsed in ${((user + system) / 1e6).toFixed(1)} s of CPU`
}
