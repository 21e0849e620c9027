import { fileURLToPath } from 'node:url'
import type { KubeClient } from '#kube'
import { applyAll } from './apply.ts'
import { readKustomization } from './manifests.ts'
import { rolledOut } from './wait.ts'

export const repository = fileURLToPath(new URL('../..', import.meta.url))

/** Applies manifests/ as `kubectl apply -k` would, and waits until every part of the mesh is ready. */
export async function installMesh(client: KubeClient, signal: AbortSignal): Promise<void> {
  await applyAll(client, await readKustomization(`${repository}manifests`), signal)
  await rolledOut(client, 'istio-system', signal)
}
