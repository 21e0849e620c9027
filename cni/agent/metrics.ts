import { Counter, Gauge, Registry } from '#telemetry'

export type Metrics = ReturnType<typeof createMetrics>

/** Istio's names for what Istio counts too; ours begin with lateen_cni_. */
export function createMetrics(registry = new Registry()) {
  const registers = [registry]
  return {
    registry,
    ztunnelConnected: new Gauge({
      name: 'ztunnel_connected',
      help: 'number of connections to ztunnel',
      registers,
    }),
    events: new Counter({
      name: 'nodeagent_reconcile_events_total',
      help: 'The total number of node agent reconcile events.',
      labelNames: ['type'],
      registers,
    }),
    pluginRequests: new Counter({
      name: 'istio_cni_plugin_requests_total',
      help: 'The total number of requests of the CNI plugin.',
      labelNames: ['response_code'],
      registers,
    }),
    installs: new Counter({
      name: 'istio_cni_installs_total',
      help: 'Total number of CNI plugins installed by the Istio CNI installer.',
      labelNames: ['result'],
      registers,
    }),
    installReady: new Gauge({
      name: 'istio_cni_install_ready',
      help: 'Whether the CNI plugin installation is ready or not.',
      registers,
    }),
    captured: new Gauge({
      name: 'lateen_cni_captured_pods',
      help: 'Pods of this node whose traffic goes through ztunnel.',
      registers,
    }),
    uncaptured: new Gauge({
      name: 'lateen_cni_uncaptured_pods',
      help: 'Running pods that should be captured and are not, by the kernel and by ztunnel. Must be 0.',
      registers,
    }),
    repairs: new Counter({
      name: 'lateen_cni_repairs_total',
      help: 'Pods whose rules differed from the intent and were put right.',
      registers,
    }),
  }
}
