import { isIP } from 'node:net'
import { isRecord } from '#base'
import {
  type At,
  type Check,
  type Fields,
  fields,
  into,
  isThere,
  list,
  listAt,
  refuse,
  required,
  shown,
  unheeded,
  warn,
  whole,
} from './check.ts'
import { destination } from './destination.ts'
import {
  covers,
  exportTo,
  gatewayName,
  host,
  isHost,
  label,
  labels,
  port,
  subnet,
  weightsOf,
} from './formats.ts'
import { httpRoutes } from './http-route.ts'

const cannotAsk = 'cannot be asked for a service; what the match may be about is closed'
const l4 = {
  destinationSubnets: unheeded(list(subnet), cannotAsk),
  port,
  sourceLabels: labels,
  gateways: list(gatewayName),
  sourceNamespace: label,
}
const routed = list(
  fields({ destination, weight: whole(0, 2 ** 31 - 1) }, (value, at) => required(value, at, 'destination')),
  { least: 1 },
)
const weighted = (value: Fields, at: At): void => {
  if (listAt(value, 'route').length === 0 && !isThere(value['route'])) refuse(into(at, 'route'), 'is needed')
  weightsOf(value, 'route', at)
}

const tlsMatch = fields({ ...l4, sniHosts: list(host({ wildcard: true }), { least: 1 }) }, (value, at) =>
  required(value, at, 'sniHosts'),
)
const tlsRoute = fields({ match: list(tlsMatch, { least: 1 }), route: routed }, (value, at) => {
  required(value, at, 'match')
  weighted(value, at)
})
const tcpRoute = fields(
  {
    match: list(fields({ ...l4, sourceSubnet: unheeded(subnet, cannotAsk) })),
    route: routed,
  },
  weighted,
)

const spec = fields(
  {
    hosts: list(host({ wildcard: true, address: true })),
    gateways: list(gatewayName),
    http: httpRoutes,
    tls: list(tlsRoute),
    tcp: list(tcpRoute),
    exportTo,
  },
  together,
)

function together(value: Fields, at: At): void {
  const hosts = listAt(value, 'hosts')
  const gateways = listAt(value, 'gateways')
  const counts = {
    http: listAt(value, 'http').length,
    tls: listAt(value, 'tls').length,
    tcp: listAt(value, 'tcp').length,
  }
  if (counts.http + counts.tls + counts.tcp === 0) refuse(at, 'needs one of http, tls, tcp')
  if (hosts.length === 0) delegateOnly(value, at, gateways.length, counts.tls + counts.tcp)
  else hostsOf(hosts, gateways, at)
  sniWithin(value, hosts, at)
  if (hosts.length > 0 && gateways.some((one) => one !== 'mesh'))
    warn(
      into(at, 'gateways'),
      gateways.includes('mesh')
        ? 'only mesh is served here: it has no effect on the others'
        : 'only the mesh reads it here: without mesh among its gateways it has no effect on waypoints',
    )
}

/** Without hosts it is part of another one. */
function delegateOnly(value: Fields, at: At, gateways: number, notHttp: number): void {
  if (gateways > 0)
    refuse(
      into(at, 'gateways'),
      'a VirtualService without hosts is a delegate, which has none; add hosts or leave this out',
    )
  if (notHttp > 0)
    refuse(at, 'a VirtualService without hosts is a delegate, which has http routes only; add hosts')
  for (const [n, route] of listAt(value, 'http').entries())
    if (isRecord(route) && isThere(route['delegate']))
      refuse(
        into(into(into(at, 'http'), n), 'delegate'),
        'a delegate has none itself; one level is all there is',
      )
}

function hostsOf(hosts: readonly unknown[], gateways: readonly unknown[], at: At): void {
  const forMesh = gateways.length === 0 || gateways.includes('mesh')
  for (const [n, one] of hosts.entries()) {
    const there = into(into(at, 'hosts'), n)
    if (one === '*' && forMesh) refuse(there, '"*" would be every service of the mesh; name hosts')
    if (typeof one === 'string' && isIP(one) !== 0 && forMesh)
      warn(there, `${shown(one)}: services are found by name; the address of one is no host`)
    if (hosts.indexOf(one) < n) refuse(there, `${shown(one)} is there twice`)
  }
}

function sniWithin(value: Fields, hosts: readonly unknown[], at: At): void {
  const known = hosts.filter((one) => typeof one === 'string')
  for (const [r, route] of listAt(value, 'tls').entries())
    for (const [m, match] of (isRecord(route) ? listAt(route, 'match') : []).entries())
      for (const [s, sni] of (isRecord(match) ? listAt(match, 'sniHosts') : []).entries())
        if (isHost(sni, true) && !known.some((one) => covers(one, sni)))
          refuse(
            [['tls', r] as const, ['match', m] as const, ['sniHosts', s] as const].reduce(
              (there, [name, index]) => into(into(there, name), index),
              at,
            ),
            `${shown(sni)} is none of spec.hosts`,
          )
}

export const virtualService: Check = spec
