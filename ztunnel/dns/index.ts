/** The DNS proxy of one pod. */
export {
  type DnsConfig,
  type DnsContext,
  type DnsProxy,
  type DnsProxyOptions,
  startDnsProxy,
} from './dns-proxy.ts'
/** What the proxies of all pods share. */
export { InFlight, maxInFlight } from './budget.ts'
export { dnsMetrics, type DnsMetrics } from './metrics.ts'
export { followResolvConf, parseResolvConf, type ResolvConf } from './resolv-conf.ts'
