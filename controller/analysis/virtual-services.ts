import { isDeepStrictEqual } from 'node:util'
import type { Custom } from '#kube'
import { isVisibleIn, readVirtualService, type VirtualService } from '../routes/index.ts'
import { message, type Message } from './message.ts'
import type { World } from './world.ts'

/** VirtualServices that are in each other's way, and rules that are in the way of later ones. */
export function virtualServiceMessages({ of, settings }: World): readonly Message[] {
  const all = of('VirtualService').map((one) => readVirtualService(one as Custom, settings.domain))
  return [...sharedHosts(all), ...all.flatMap(unreachable)]
}

function sharedHosts(all: readonly VirtualService[]): readonly Message[] {
  const byHost = new Map<string, VirtualService[]>()
  for (const one of all)
    if (one.forMesh)
      for (const host of new Set(one.hosts)) byHost.set(host, [...(byHost.get(host) ?? []), one])
  return [...byHost].flatMap(([host, sharing]) =>
    sharing.flatMap((one) => {
      const others = sharing.filter((other) => other !== one && isVisibleIn(other, one.namespace))
      if (others.length === 0) return []
      const names = others.map(({ key }) => key).join(', ')
      const text = `${names} has ${host} too: rules are put one after the other, the oldest object's first`
      return [message('ConflictingMeshGatewayVirtualServiceHosts', `VirtualService ${one.key}`, text)]
    }),
  )
}

type Match = Readonly<{
  rule: number
  index: number
  what: Readonly<{ port?: number | undefined; match: object }>
}>

const isEverything = ({ what }: Match): boolean =>
  what.port === undefined && Object.keys(what.match).length === 0

function unreachable({ key, http }: VirtualService): readonly Message[] {
  const resource = `VirtualService ${key}`
  const before: Match[] = []
  return http.flatMap(({ index: rule, matches }) => {
    const own = matches
      .filter(({ forMesh }) => forMesh)
      .map(({ index, port, match }): Match => ({ rule, index, what: { port, match } }))
    const hides = (one: Match) =>
      before.find((other) => isEverything(other) || isDeepStrictEqual(other.what, one.what))
    const hidden = own.map((one) => ({ one, by: hides(one) }))
    before.push(...own)
    const lost = hidden.filter(({ by }) => by !== undefined)
    if (lost.length === 0) return []
    if (lost.length === own.length) {
      const rules = [...new Set(lost.map(({ by }) => `spec.http[${by?.rule}]`))].join(', ')
      return [
        message(
          'VirtualServiceUnreachableRule',
          resource,
          `spec.http[${rule}]: ${rules} takes all that it matches`,
        ),
      ]
    }
    return lost.map(({ one, by }) =>
      message(
        'VirtualServiceIneffectiveMatch',
        resource,
        `spec.http[${rule}].match[${one.index}]: spec.http[${by?.rule}] takes it`,
      ),
    )
  })
}
