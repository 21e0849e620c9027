/** `node install.ts [--name X]`: installs the mesh of manifests/ into a sandbox that is up. */
import { parseArgs } from 'node:util'
import { KubeClient, loadCluster } from '#kube'
import { sandboxConfig } from '../config.ts'
import { installMesh } from './mesh.ts'

const { values } = parseArgs({ options: { name: { type: 'string' } } })
const config = sandboxConfig(values.name)
using client = new KubeClient(loadCluster(config.kubeconfig))
const started = Date.now()
await installMesh(client, AbortSignal.timeout(120_000))
process.stdout.write(`the mesh is ready after ${Date.now() - started} ms\n`)
