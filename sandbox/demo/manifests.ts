import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { MeshError } from '#base'

const KubeObject = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
})
export type KubeObject = z.infer<typeof KubeObject>

/** The one form of kustomization that our manifests use; anything more would be silently lost here, so it is refused. */
const Kustomization = z.strictObject({
  apiVersion: z.string(),
  kind: z.literal('Kustomization'),
  namespace: z.string().optional(),
  resources: z.array(z.string()),
})

/** Objects of a YAML file of several documents. Throws a MeshError that names the file. */
export async function readObjects(file: string): Promise<KubeObject[]> {
  const documents = parseAllDocuments(await readFile(file, 'utf8'))
  return documents.flatMap((document) => {
    const [error] = document.errors
    if (error) throw new MeshError('bad-config', { message: `${file}: ${error.message}` })
    const value: unknown = document.toJS()
    if (value === null) return []
    const parsed = KubeObject.safeParse(value)
    if (!parsed.success)
      throw new MeshError('bad-config', { message: `${file}: ${z.prettifyError(parsed.error)}` })
    return [parsed.data]
  })
}

/** What `kubectl apply -k` would apply for a folder of ours: the resources of its kustomization, in order. */
export async function readKustomization(folder: string): Promise<KubeObject[]> {
  const file = join(folder, 'kustomization.yaml')
  const [document] = parseAllDocuments(await readFile(file, 'utf8'))
  const parsed = Kustomization.safeParse(document?.toJS())
  if (!parsed.success)
    throw new MeshError('bad-config', { message: `${file}: ${z.prettifyError(parsed.error)}` })
  const { namespace, resources } = parsed.data
  const lists: KubeObject[][] = []
  for (const resource of resources) {
    const path = join(folder, resource)
    lists.push((await stat(path)).isDirectory() ? await readKustomization(path) : await readObjects(path))
  }
  const objects = lists.flat()
  return namespace === undefined
    ? objects
    : objects.map((object) => ({ ...object, metadata: { namespace, ...object.metadata } }))
}

/** Definitions before what they define: namespaces, then CRDs, then the rest in the order given. */
export function inOrder(objects: readonly KubeObject[]): KubeObject[] {
  const rank = ({ kind }: KubeObject) =>
    kind === 'Namespace' ? 0 : kind === 'CustomResourceDefinition' ? 1 : 2
  return objects.toSorted((a, b) => rank(a) - rank(b))
}
