import { describeError, startLogging } from '#telemetry'
import { KubeClient, loadCluster } from '#kube'
import { MeshError } from '#base'
import { sandboxConfig } from '../config.ts'
import { startControllers } from './app.ts'

const log = startLogging({ filter: process.env['LATEEN_LOG'] ?? 'info' }).root('controllers')
const stop = new AbortController()
for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort())

try {
  const config = sandboxConfig()
  using client = new KubeClient(loadCluster())
  const rootPem = client.cluster.ca
  if (rootPem === undefined)
    throw new MeshError('bad-config', {
      message: 'the kubeconfig names no root certificate: pods could not trust the API server',
    })
  await using _controllers = await startControllers({ client, config, rootPem, signal: stop.signal, log })
  log.info('controllers are running')
  await new Promise((resolve) => stop.signal.addEventListener('abort', resolve, { once: true }))
} catch (error) {
  if (!stop.signal.aborted) {
    log.error('controllers ended', { error: describeError(error) })
    process.exitCode = 1
  }
}
