import { isStatus, type Kind, type KubeClient, type KubeObject } from '#kube'

type How = Readonly<{ client: KubeClient; kind: Kind; fieldManager: string; signal: AbortSignal }>

/** A time as Kubernetes writes it: without fractions of a second. */
export const timeOf = (date: Date): string => date.toISOString().replace(/\.\d+Z$/, 'Z')

/** Merges `status`, and annotations, into an object. One that has gone needs none; a conflict is an error. */
export async function writeStatus(
  { metadata: { name = '', namespace = '', resourceVersion } }: KubeObject,
  status: Readonly<Record<string, unknown>>,
  { client, kind, fieldManager, signal }: How,
  annotations?: Readonly<Record<string, string>>,
): Promise<void> {
  // The version makes the write fail if somebody changed the object since we looked.
  const metadata = { resourceVersion, ...(annotations && { annotations }) }
  await client
    .mergePatch(
      { kind, name, namespace },
      { metadata, status },
      { subresource: 'status', fieldManager, signal },
    )
    .catch((error: unknown) => {
      if (!isStatus(error, 404)) throw error
    })
}
