import t from 'tap'
import { type KubeObject, Table } from '#kube'
import { Registry } from '#telemetry'
import type { Inputs } from '../../controller/collections/index.ts'
import { inboundMetrics } from '../../controller/inbound-metrics.ts'

t.test('what comes in is counted by kind and by what happened, and no longer than asked for', async (t) => {
  const tables: Record<string, Table<KubeObject>> = {}
  const names = ['pods', 'services', 'slices', 'nodes', 'authorizationPolicies', 'peerAuthentications']
  for (const name of [...names, 'serviceEntries', 'workloadEntries', 'gateways', 'gatewayClasses'])
    tables[name] = new Table<KubeObject>(name)
  const set = (name: string, key: string, row: KubeObject | undefined) =>
    tables[name]?.apply([{ key, old: tables[name].get(key), row }])
  const inputs = Object.fromEntries(
    Object.entries(tables).map(([name, { collection }]) => [name, collection]),
  ) as unknown as Inputs
  const registry = new Registry()
  set('pods', 'a', { metadata: { name: 'a' } })
  const counting = inboundMetrics(registry, inputs)
  set('pods', 'a', { metadata: { name: 'a', uid: '1' } })
  set('services', 's', { metadata: { name: 's' } })
  set('services', 's', undefined)
  set('authorizationPolicies', 'p', { metadata: { name: 'p' } })
  counting[Symbol.dispose]()
  set('pods', 'b', { metadata: { name: 'b' } })
  const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith('pilot'))
  t.strictSame(lines.sort(), [
    'pilot_inbound_updates{type="config"} 1',
    'pilot_inbound_updates{type="eds"} 2',
    'pilot_inbound_updates{type="svc"} 1',
    'pilot_inbound_updates{type="svcdelete"} 1',
    'pilot_k8s_cfg_events{type="AuthorizationPolicy",event="add"} 1',
    'pilot_k8s_reg_events{type="Pods",event="add"} 1',
    'pilot_k8s_reg_events{type="Pods",event="update"} 1',
    'pilot_k8s_reg_events{type="Services",event="add"} 1',
    'pilot_k8s_reg_events{type="Services",event="delete"} 1',
  ])
})
