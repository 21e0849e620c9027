import { isRecord, MeshError, retry } from '#base'
import { isStatus, type Kind, type KubeClient, KubeError, type KubeObject as Row, kinds } from '#kube'
import { inOrder, type KubeObject } from './manifests.ts'

/** Who owns the fields that the demo applies. */
const fieldManager = 'lateen-demo'
/** A CRD is served a moment after it was stored; an API server under load takes its time. */
const patience = { attempts: 40, baseMs: 50, capMs: 500 }

/** Server-side applies objects, definitions first. A second run changes nothing. */
export async function applyAll(
  client: KubeClient,
  objects: readonly KubeObject[],
  signal: AbortSignal,
): Promise<void> {
  const known = new Map<string, Kind>()
  for (const object of inOrder(objects)) {
    const key = `${object.apiVersion}/${object.kind}`
    const kind = known.get(key) ?? (await kindOf(client, object, signal))
    known.set(key, kind)
    await client.apply(kind, object as Row, { fieldManager, force: true, signal })
    // Pods are refused until their namespace has its service account, which a controller makes.
    if (object.kind === 'Namespace') await accountOf(client, object.metadata.name, signal)
  }
}

const accountOf = (client: KubeClient, namespace: string, signal: AbortSignal) => {
  const ref = { kind: kinds.ServiceAccount, namespace, name: 'default' }
  return retry(() => client.get(ref, signal), { signal, ...patience, retryable: (e) => isStatus(e, 404) })
}

/** Deletes objects; those that are gone already are fine. */
export async function deleteAll(
  client: KubeClient,
  objects: readonly KubeObject[],
  signal: AbortSignal,
): Promise<void> {
  for (const object of objects) {
    const { name, namespace } = object.metadata
    const kind = await kindOf(client, object, signal)
    await client.delete({ kind, name, ...(namespace === undefined ? {} : { namespace }) }, { signal })
  }
}

/** How the cluster addresses a kind, from its discovery document; waits for CRDs that were only just applied. */
async function kindOf(
  client: KubeClient,
  { apiVersion, kind }: KubeObject,
  signal: AbortSignal,
): Promise<Kind> {
  const path = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const look = async () => {
    const answer = await client.request('GET', path, undefined, { signal })
    const resources: unknown = isRecord(answer) ? answer['resources'] : undefined
    const found: unknown = Array.isArray(resources)
      ? resources.find((row) => isRecord(row) && row['kind'] === kind && !String(row['name']).includes('/'))
      : undefined
    if (!isRecord(found)) throw new MeshError('unavailable', { message: `${apiVersion} has no kind ${kind}` })
    return { apiVersion, kind, plural: String(found['name']), namespaced: found['namespaced'] === true }
  }
  const retryable = (error: unknown) =>
    isStatus(error, 404) || error instanceof MeshError || error instanceof KubeError
  return retry(look, { signal, ...patience, retryable })
}
