import { isRecord } from '#base'
import { at, type KubeObject, listAt, numberAt, recordAt, scalarAt, textAt } from '../rest/object.ts'
import { ageOf } from './age.ts'
import { podCells } from './pod-columns.ts'

/** A column of a table; priority 1 shows with `-o wide` only. */
export type Column = Readonly<{
  name: string
  type: string
  format: string
  description: string
  priority: number
}>
/** How a kind is shown: its columns, and the cells of one object. */
export type Printer = Readonly<{
  columns: readonly Column[]
  cells: (object: KubeObject, now: number) => readonly unknown[]
}>

const column = (text: string): Column => {
  const wide = text.startsWith('+')
  const name = wide ? text.slice(1) : text
  return {
    name,
    type: 'string',
    format: name === 'Name' ? 'name' : '',
    description: name,
    priority: wide ? 1 : 0,
  }
}

/** `'Name +Node'`-like column lists keep the table below readable; a leading + means wide only. */
const printer = (columns: string, cells: Printer['cells']): Printer => ({
  columns: columns.split(',').map(column),
  cells,
})

const age = ({ metadata }: KubeObject, now: number): string => ageOf(metadata.creationTimestamp, now)
const keyValues = (value: unknown): string => {
  const pairs = isRecord(value) ? Object.entries(value).map(([k, v]) => `${k}=${String(v)}`) : []
  return pairs.length === 0 ? '<none>' : pairs.join(',')
}
const selectorText = (object: KubeObject): string => keyValues(at(object, 'spec', 'selector', 'matchLabels'))
const containersOf = (object: KubeObject): readonly unknown[] =>
  listAt(object, 'spec', 'template', 'spec', 'containers')
const imagesOf = (object: KubeObject): string =>
  containersOf(object)
    .map((c) => textAt(c, 'image') ?? '')
    .join(',')
const namesOf = (object: KubeObject): string =>
  containersOf(object)
    .map((c) => textAt(c, 'name') ?? '')
    .join(',')
const count = (object: KubeObject, ...path: string[]): number => numberAt(object, ...path) ?? 0
const size = (object: KubeObject, ...fields: string[]): number =>
  fields.reduce((sum, field) => sum + Object.keys(recordAt(object, field)).length, 0)

function servicePorts(service: KubeObject): string {
  const ports = listAt(service, 'spec', 'ports').map((port) => {
    const node = numberAt(port, 'nodePort')
    return `${numberAt(port, 'port') ?? ''}${node === undefined ? '' : `:${node}`}/${textAt(port, 'protocol') ?? 'TCP'}`
  })
  return ports.length === 0 ? '<none>' : ports.join(',')
}

function externalIp(service: KubeObject): string {
  const given = [
    ...listAt(service, 'status', 'loadBalancer', 'ingress').map(
      (i) => textAt(i, 'ip') ?? textAt(i, 'hostname') ?? '',
    ),
    ...listAt(service, 'spec', 'externalIPs').map(String),
  ]
  const type = textAt(service, 'spec', 'type')
  if (type === 'ExternalName') return textAt(service, 'spec', 'externalName') ?? '<none>'
  if (given.length > 0) return given.join(',')
  return type === 'LoadBalancer' ? '<pending>' : '<none>'
}

function nodeStatus(node: KubeObject): string {
  const ready = listAt(node, 'status', 'conditions').find((c) => textAt(c, 'type') === 'Ready')
  const status = ready === undefined ? 'Unknown' : textAt(ready, 'status') === 'True' ? 'Ready' : 'NotReady'
  return at(node, 'spec', 'unschedulable') === true ? `${status},SchedulingDisabled` : status
}

function nodeRoles({ metadata }: KubeObject): string {
  const prefix = 'node-role.kubernetes.io/'
  const roles = Object.keys(metadata.labels ?? {}).filter((label) => label.startsWith(prefix))
  return roles.map((label) => label.slice(prefix.length)).join(',') || '<none>'
}

const nodeAddress = (node: KubeObject, type: string): string =>
  textAt(
    listAt(node, 'status', 'addresses').find((a) => textAt(a, 'type') === type),
    'address',
  ) ?? '<none>'

const replicaCells = (object: KubeObject, now: number) => [
  object.metadata.name,
  count(object, 'spec', 'replicas'),
  count(object, 'status', 'replicas'),
  count(object, 'status', 'readyReplicas'),
  age(object, now),
  namesOf(object),
  imagesOf(object),
  selectorText(object),
]

function eventCells(event: KubeObject, now: number): readonly unknown[] {
  const seen =
    textAt(event, 'lastTimestamp') ??
    textAt(event, 'series', 'lastObservedTime') ??
    textAt(event, 'eventTime')
  const about = recordAt(event, event['involvedObject'] === undefined ? 'regarding' : 'involvedObject')
  return [
    ageOf(seen ?? event.metadata.creationTimestamp, now),
    event['type'],
    event['reason'],
    `${scalarAt(about, 'kind').toLowerCase()}/${scalarAt(about, 'name')}`,
    (scalarAt(event, 'message') || scalarAt(event, 'note')).trim(),
  ]
}

function endpointText(slice: KubeObject): string {
  const addresses = listAt(slice, 'endpoints').flatMap((endpoint) =>
    listAt(endpoint, 'addresses').map(String),
  )
  if (addresses.length === 0) return '<unset>'
  return addresses.length > 3
    ? `${addresses.slice(0, 3).join(',')} + ${addresses.length - 3} more...`
    : addresses.join(',')
}

const portsOfSlice = (slice: KubeObject): string =>
  listAt(slice, 'ports')
    .map((port) => String(numberAt(port, 'port') ?? '*'))
    .join(',') || '<unset>'

function endpointsText(endpoints: KubeObject): string {
  const all = listAt(endpoints, 'subsets').flatMap((subset) =>
    listAt(subset, 'addresses').flatMap((address) =>
      listAt(subset, 'ports').map((port) => `${textAt(address, 'ip') ?? ''}:${numberAt(port, 'port') ?? ''}`),
    ),
  )
  return all.length === 0
    ? '<none>'
    : all.length > 3
      ? `${all.slice(0, 3).join(',')} + ${all.length - 3} more...`
      : all.join(',')
}

const roleRef = (binding: KubeObject): string =>
  `${textAt(binding, 'roleRef', 'kind') ?? ''}/${textAt(binding, 'roleRef', 'name') ?? ''}`

/** Kubernetes' own columns of the kinds that people look at most. */
export const printers: Readonly<Record<string, Printer>> = {
  pods: printer('Name,Ready,Status,Restarts,Age,+IP,+Node,+Nominated Node,+Readiness Gates', podCells),
  'deployments.apps': printer(
    'Name,Ready,Up-to-date,Available,Age,+Containers,+Images,+Selector',
    (o, now) => [
      o.metadata.name,
      `${count(o, 'status', 'readyReplicas')}/${count(o, 'spec', 'replicas')}`,
      count(o, 'status', 'updatedReplicas'),
      count(o, 'status', 'availableReplicas'),
      age(o, now),
      namesOf(o),
      imagesOf(o),
      selectorText(o),
    ],
  ),
  'replicasets.apps': printer('Name,Desired,Current,Ready,Age,+Containers,+Images,+Selector', replicaCells),
  'daemonsets.apps': printer(
    'Name,Desired,Current,Ready,Up-to-date,Available,Node Selector,Age,+Containers,+Images,+Selector',
    (o, now) => [
      o.metadata.name,
      count(o, 'status', 'desiredNumberScheduled'),
      count(o, 'status', 'currentNumberScheduled'),
      count(o, 'status', 'numberReady'),
      count(o, 'status', 'updatedNumberScheduled'),
      count(o, 'status', 'numberAvailable'),
      keyValues(at(o, 'spec', 'template', 'spec', 'nodeSelector')),
      age(o, now),
      namesOf(o),
      imagesOf(o),
      selectorText(o),
    ],
  ),
  'statefulsets.apps': printer('Name,Ready,Age,+Containers,+Images', (o, now) => [
    o.metadata.name,
    `${count(o, 'status', 'readyReplicas')}/${count(o, 'spec', 'replicas')}`,
    age(o, now),
    namesOf(o),
    imagesOf(o),
  ]),
  'jobs.batch': printer('Name,Status,Completions,Age', (o, now) => [
    o.metadata.name,
    textAt(
      listAt(o, 'status', 'conditions').find((c) => textAt(c, 'status') === 'True'),
      'type',
    ) ?? 'Running',
    `${count(o, 'status', 'succeeded')}/${count(o, 'spec', 'completions')}`,
    age(o, now),
  ]),
  services: printer('Name,Type,Cluster-IP,External-IP,Port(s),Age,+Selector', (o, now) => [
    o.metadata.name,
    textAt(o, 'spec', 'type'),
    textAt(o, 'spec', 'clusterIP') ?? '<none>',
    externalIp(o),
    servicePorts(o),
    age(o, now),
    keyValues(at(o, 'spec', 'selector')),
  ]),
  nodes: printer(
    'Name,Status,Roles,Age,Version,+Internal-IP,+External-IP,+OS-Image,+Kernel-Version,+Container-Runtime',
    (o, now) => [
      o.metadata.name,
      nodeStatus(o),
      nodeRoles(o),
      age(o, now),
      textAt(o, 'status', 'nodeInfo', 'kubeletVersion') ?? '<unknown>',
      nodeAddress(o, 'InternalIP'),
      nodeAddress(o, 'ExternalIP'),
      textAt(o, 'status', 'nodeInfo', 'osImage') ?? '<unknown>',
      textAt(o, 'status', 'nodeInfo', 'kernelVersion') ?? '<unknown>',
      textAt(o, 'status', 'nodeInfo', 'containerRuntimeVersion') ?? '<unknown>',
    ],
  ),
  namespaces: printer('Name,Status,Age', (o, now) => [
    o.metadata.name,
    textAt(o, 'status', 'phase'),
    age(o, now),
  ]),
  configmaps: printer('Name,Data,Age', (o, now) => [
    o.metadata.name,
    size(o, 'data', 'binaryData'),
    age(o, now),
  ]),
  secrets: printer('Name,Type,Data,Age', (o, now) => [
    o.metadata.name,
    o['type'],
    size(o, 'data'),
    age(o, now),
  ]),
  serviceaccounts: printer('Name,Secrets,Age', (o, now) => [
    o.metadata.name,
    listAt(o, 'secrets').length,
    age(o, now),
  ]),
  events: printer('Last Seen,Type,Reason,Object,Message', eventCells),
  'events.events.k8s.io': printer('Last Seen,Type,Reason,Object,Message', eventCells),
  endpoints: printer('Name,Endpoints,Age', (o, now) => [o.metadata.name, endpointsText(o), age(o, now)]),
  'endpointslices.discovery.k8s.io': printer('Name,AddressType,Ports,Endpoints,Age', (o, now) => [
    o.metadata.name,
    o['addressType'],
    portsOfSlice(o),
    endpointText(o),
    age(o, now),
  ]),
  'leases.coordination.k8s.io': printer('Name,Holder,Age', (o, now) => [
    o.metadata.name,
    textAt(o, 'spec', 'holderIdentity') ?? '',
    age(o, now),
  ]),
  'roles.rbac.authorization.k8s.io': printer('Name,Created At', (o) => [
    o.metadata.name,
    o.metadata.creationTimestamp,
  ]),
  'clusterroles.rbac.authorization.k8s.io': printer('Name,Created At', (o) => [
    o.metadata.name,
    o.metadata.creationTimestamp,
  ]),
  'rolebindings.rbac.authorization.k8s.io': printer('Name,Role,Age', (o, now) => [
    o.metadata.name,
    roleRef(o),
    age(o, now),
  ]),
  'clusterrolebindings.rbac.authorization.k8s.io': printer('Name,Role,Age', (o, now) => [
    o.metadata.name,
    roleRef(o),
    age(o, now),
  ]),
  'customresourcedefinitions.apiextensions.k8s.io': printer('Name,Created At', (o) => [
    o.metadata.name,
    o.metadata.creationTimestamp,
  ]),
}

/** Every kind that has no columns of its own. */
export const plainPrinter: Printer = printer('Name,Age', (o, now) => [o.metadata.name, age(o, now)])
