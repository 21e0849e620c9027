import { isRecord } from '#base'
import {
  anything,
  atMostOne,
  type Check,
  type Fields,
  type At,
  fields,
  into,
  isThere,
  list,
  map,
  oneOf,
  present,
  refuse,
  required,
  shown,
  text,
  warn,
  whole,
} from './check.ts'
import { labels, port, regex } from './formats.ts'
import { targeting } from './target-refs.ts'

const listener = {
  portNumber: port,
  name: text,
  portName: text,
  listenerFilter: text,
  filterChain: fields({
    name: text,
    sni: text,
    transportProtocol: text,
    applicationProtocols: text,
    destinationPort: port,
    filter: fields({ name: text, subFilter: fields({ name: text }) }),
  }),
}
const vhost = fields({
  name: text,
  domainName: text,
  route: fields({ name: text, action: oneOf('ANY', 'ROUTE', 'REDIRECT', 'DIRECT_RESPONSE') }),
})
const routeConfiguration = { portNumber: port, portName: text, gateway: text, vhost, name: text }
const cluster = { portNumber: port, service: text, subset: text, name: text }
const waypoint = {
  portNumber: port,
  route: fields({ name: text }),
  filter: fields({ name: text, subFilter: fields({ name: text }) }),
}
const places = ['listener', 'routeConfiguration', 'cluster', 'waypoint']

const match = fields(
  {
    context: oneOf('ANY', 'SIDECAR_INBOUND', 'SIDECAR_OUTBOUND', 'GATEWAY', 'WAYPOINT'),
    proxy: fields({ proxyVersion: regex, metadata: map(text) }),
    listener: fields(listener),
    routeConfiguration: fields(routeConfiguration),
    cluster: fields(cluster),
    waypoint: fields(waypoint),
  },
  (value, at) => atMostOne(value, at, places),
)

const operations = [
  'MERGE',
  'ADD',
  'REMOVE',
  'INSERT_BEFORE',
  'INSERT_AFTER',
  'INSERT_FIRST',
  'REPLACE',
  'MERGE_AND_REPLACE_LIST',
]
const patch = fields(
  {
    operation: oneOf(...operations),
    value: anything,
    filterClass: oneOf('UNSPECIFIED', 'AUTHN', 'AUTHZ', 'STATS'),
  },
  (value, at) => {
    required(value, at, 'operation')
    if (value['operation'] === 'REMOVE') {
      if (isThere(value['value'])) refuse(into(at, 'value'), 'means nothing where it is removed')
    } else if (!isRecord(value['value'])) refuse(into(at, 'value'), 'is needed: what to put in')
  },
)

/** What a patch is of → where it can be looked for. */
const homes: Readonly<Record<string, string>> = {
  LISTENER: 'listener',
  LISTENER_FILTER: 'listener',
  FILTER_CHAIN: 'listener',
  NETWORK_FILTER: 'listener',
  HTTP_FILTER: 'listener',
  ROUTE_CONFIGURATION: 'routeConfiguration',
  VIRTUAL_HOST: 'routeConfiguration',
  HTTP_ROUTE: 'routeConfiguration',
  CLUSTER: 'cluster',
}
const configPatch = fields(
  { applyTo: oneOf(...Object.keys(homes), 'EXTENSION_CONFIG', 'BOOTSTRAP'), match, patch },
  (value: Fields, at: At) => {
    required(value, at, 'applyTo', 'patch')
    const home = Object.entries(homes).find(([name]) => name === value['applyTo'])?.[1]
    const [place] = isRecord(value['match']) ? present(value['match'], places) : []
    if (home !== undefined && place !== undefined && place !== 'waypoint' && place !== home)
      refuse(into(into(at, 'match'), place), `${shown(value['applyTo'])} is found by ${home}`)
  },
)

/** Read for its shape; there is no Envoy to give it to. */
export const envoyFilter: Check = fields(
  {
    workloadSelector: fields({ labels }),
    targetRefs: targeting.targetRefs,
    configPatches: list(configPatch),
    priority: whole(-(2 ** 31), 2 ** 31 - 1),
  },
  (value, at) => {
    atMostOne(value, at, ['workloadSelector', 'targetRefs'])
    warn(at, 'there is no Envoy in this mesh; it has no effect')
  },
)
