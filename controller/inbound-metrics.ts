import type { Change } from '#kube'
import { Counter, type Registry } from '#telemetry'
import type { Inputs } from './collections/index.ts'

type Event = 'add' | 'update' | 'delete'
/** Rows of any kind, as far as counting goes. */
type Counted = Readonly<{
  subscribe: (listener: (changes: readonly Change<unknown>[]) => void) => Disposable
}>

/** Where workloads come from, by Istio's names. */
const registryKinds = [
  ['pods', 'Pods'],
  ['services', 'Services'],
  ['slices', 'EndpointSlices'],
  ['nodes', 'Nodes'],
] as const
/** What users write for the mesh. */
const configKinds = [
  ['authorizationPolicies', 'AuthorizationPolicy'],
  ['peerAuthentications', 'PeerAuthentication'],
  ['serviceEntries', 'ServiceEntry'],
  ['workloadEntries', 'WorkloadEntry'],
  ['gateways', 'Gateway'],
  ['gatewayClasses', 'GatewayClass'],
] as const

/** How much comes in from the API server, as far as it changes what we read. Names as Istio's; dispose stops counting. */
export function inboundMetrics(registry: Registry, inputs: Inputs): Disposable {
  const stack = new DisposableStack()
  const registers = [registry]
  const counter = (name: string, help: string) =>
    new Counter({ name, help, labelNames: ['type', 'event'], registers })
  const ofRegistry = counter('pilot_k8s_reg_events', 'Changes of pods, Services, endpoints and nodes')
  const ofConfig = counter('pilot_k8s_cfg_events', 'Changes of the objects that users write for the mesh')
  const updates = new Counter({
    name: 'pilot_inbound_updates',
    help: 'Changes that came in: of endpoints, of Services, and of what users write',
    labelNames: ['type'],
    registers,
  })
  const count = (
    rows: Counted,
    into: typeof ofRegistry,
    type: string,
    updateType: (event: Event) => string,
  ) =>
    stack.use(
      rows.subscribe((changes) => {
        for (const change of changes) {
          const event = eventOf(change)
          into.inc({ type, event })
          updates.inc({ type: updateType(event) })
        }
      }),
    )
  const ofService = (event: Event) => (event === 'delete' ? 'svcdelete' : 'svc')
  for (const [name, type] of registryKinds)
    count(inputs[name], ofRegistry, type, name === 'services' ? ofService : () => 'eds')
  for (const [name, type] of configKinds) count(inputs[name], ofConfig, type, () => 'config')
  return stack
}

const eventOf = ({ old, row }: Change<unknown>): Event =>
  old === undefined ? 'add' : row === undefined ? 'delete' : 'update'
