import { once } from 'node:events'
import { type KubeClient, kinds, reflect } from '#kube'
import type { Logger } from '#telemetry'
import { ip } from '#base'
import type { NodeConfig, SandboxConfig } from '../config.ts'
import { assignAddresses } from './addresses.ts'
import { serveDns } from './dns-server.ts'
import { dnsZone } from './dns-zone.ts'
import { startProxy } from './proxy.ts'

/** Whose Services and names a node has. */
export type NodeServicesOptions = Readonly<{
  config: SandboxConfig
  node: NodeConfig
  client: KubeClient
  signal: AbortSignal
  log: Logger
}>

const dnsPort = 53

/**
 * Service addresses and cluster DNS for one node. Runs in the node's network namespace; resolves when the first rules
 * are loaded and DNS answers. On dispose the rules and addresses stay: they live and die with the namespace.
 */
export async function startNodeServices(options: NodeServicesOptions): Promise<AsyncDisposable> {
  const { config, node, client, log } = options
  await using stack = new AsyncDisposableStack()
  const closing = stack.adopt(new AbortController(), (controller) => controller.abort())
  const signal = AbortSignal.any([options.signal, closing.signal])
  const services = reflect(client, kinds.Service, { signal, log })
  const slices = reflect(client, kinds.EndpointSlice, { signal, log })
  const addresses = [ip(config.dnsServiceIp), ip(config.dnsServiceIpv6)]
  await assignAddresses(addresses, signal)
  // An answer given before everything is known would be a wrong "no such name".
  signal.throwIfAborted()
  await Promise.race([Promise.all([services.synced, slices.synced]), once(signal, 'abort')])
  signal.throwIfAborted()
  const domain = config.clusterDomain
  const resolve = dnsZone({ services, slices, domain })
  for (const address of addresses) stack.use(await serveDns({ address, port: dnsPort, resolve, domain, log }))
  stack.use(
    await startProxy({ services, slices, node: node.name, skip: addresses, signal, log: log.child('proxy') }),
  )
  return stack.move()
}
