import type { SandboxConfig } from '../../config.ts'
import type { NodePod } from './pod.ts'

/** The pod's host name: its own, cut to what a host name may be. Pods in the node's network have the node's. */
export const hostnameOf = ({ metadata, spec }: NodePod): string =>
  spec.hostNetwork ? spec.nodeName : (spec.hostname ?? metadata.name.slice(0, 63).replace(/[.-]+$/, ''))

/**
 * /etc/resolv.conf. The policy `Default` would mean the machine's own resolvers, which no namespace of the sandbox can
 * reach; such pods get cluster DNS without search domains.
 */
export function resolvConf({ metadata, spec }: NodePod, config: SandboxConfig): string {
  const { dnsPolicy, dnsConfig, hostNetwork } = spec
  const domain = config.clusterDomain
  const cluster = dnsPolicy === 'ClusterFirstWithHostNet' || (dnsPolicy === 'ClusterFirst' && !hostNetwork)
  const servers = dnsPolicy === 'None' ? [] : [config.dnsServiceIp]
  const searches = cluster ? [`${metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain] : []
  const own = dnsConfig.options.map(({ name, value }) => (value === undefined ? name : `${name}:${value}`))
  const hasNdots = dnsConfig.options.some(({ name }) => name === 'ndots')
  const options = [...(cluster && !hasNdots ? ['ndots:5'] : []), ...own]
  const search = [...searches, ...dnsConfig.searches]
  return [
    ...[...servers, ...dnsConfig.nameservers].map((server) => `nameserver ${server}`),
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    '',
  ].join('\n')
}

/** /etc/hosts as the kubelet writes it. */
export function etcHosts(pod: NodePod, config: SandboxConfig, podIps: readonly string[]): string {
  const { metadata, spec } = pod
  const name = hostnameOf(pod)
  const full = spec.subdomain
    ? `${name}.${spec.subdomain}.${metadata.namespace}.svc.${config.clusterDomain}\t${name}`
    : name
  return [
    '# Written by the sandbox for this pod.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...podIps.map((address) => `${address}\t${full}`),
    ...spec.hostAliases.map(({ ip, hostnames }) => [ip, ...hostnames].join('\t')),
    '',
  ].join('\n')
}
