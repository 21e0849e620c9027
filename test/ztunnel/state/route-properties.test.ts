import fc from 'fast-check'
import t from 'tap'
import { ip } from '#base'
import {
  MeshState,
  type OutboundQuestion,
  resolveOutbound,
  type Workload,
} from '../../../ztunnel/state/index.ts'
import { destinations, meshes, rowsOf } from '../../helpers/random-mesh.ts'
import { possibleRoutes, routeText } from '../../helpers/route-oracle.ts'

/** Numbers of [0, 1) from a seed, the same every time. */
const dice = (seed: number) => () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
  return seed / 2 ** 32
}
const questionOf = (
  workloads: readonly Workload[],
  random: () => number,
  registryOnly: boolean,
): OutboundQuestion => {
  const source = workloads.find(({ name }) => name === 'client')
  if (!source) throw new Error('no client')
  return { source, sourceIp: ip('10.0.0.1'), network: '', random, registryOnly }
}

t.test('the route is always one that a naive reading of the rules allows (10 000 meshes)', async (t) => {
  const seen = new Map<string, number>()
  fc.assert(
    fc.property(meshes, destinations, fc.nat(), fc.boolean(), (mesh, to, seed, registryOnly) => {
      const rows = rowsOf(mesh)
      const state = new MeshState('n1')
      state.apply(rows)
      const question = questionOf(rows.workloads, dice(seed), registryOnly)
      const origDst = { address: ip(to.address), port: to.port }
      const possible = possibleRoutes(rows, question, origDst)
      for (let n = 0; n < 4; n++) {
        const route = resolveOutbound(state, question, origDst)
        const text = routeText(route)
        const name =
          route.kind === 'resolve' ? `resolve ${route.way.tunnel}` : `${route.kind} ${route.reason}`
        seen.set(name, (seen.get(name) ?? 0) + 1)
        if (!possible.has(text)) throw new Error(`${text}\nis none of\n${[...possible].join('\n')}`)
      }
    }),
    { numRuns: 10_000, seed: 20_261 },
  )
  t.comment(JSON.stringify(Object.fromEntries([...seen].toSorted(([a], [b]) => (a < b ? -1 : 1)))))
  for (const kind of ['hbone service-endpoint', 'waypoint service-waypoint', 'double-hbone remote-endpoint'])
    t.ok((seen.get(kind) ?? 0) > 50, `${kind} was seen`)
  for (const kind of [
    'double-hbone remote-waypoint',
    'waypoint workload-waypoint',
    'resolve none',
    'direct workload-address',
  ])
    t.ok((seen.get(kind) ?? 0) > 10, `${kind} was seen`)
})

t.test('and every one that it allows is taken by some dice', async () => {
  fc.assert(
    fc.property(meshes, destinations, (mesh, to) => {
      const rows = rowsOf(mesh)
      const state = new MeshState('n1')
      state.apply(rows)
      const origDst = { address: ip(to.address), port: to.port }
      const missing = new Set(
        possibleRoutes(
          rows,
          questionOf(rows.workloads, () => 0, false),
          origDst,
        ),
      )
      // Each throw has at most 10 outcomes: 5 endpoints of weight 2.
      const random = dice(1)
      for (let n = 0; n < 600 && missing.size > 0; n++)
        missing.delete(routeText(resolveOutbound(state, questionOf(rows.workloads, random, false), origDst)))
      if (missing.size > 0) throw new Error(`never: ${[...missing].join('\n')}`)
    }),
    { numRuns: 2_000, seed: 20_262 },
  )
})

t.test('with everything tried there is no route to a service, and no endpoint is tried twice', async () => {
  fc.assert(
    fc.property(meshes, destinations, fc.nat(), (mesh, to, seed) => {
      const rows = rowsOf(mesh)
      const state = new MeshState('n1')
      state.apply(rows)
      const tried = new Set<Workload['uid']>()
      const question = { ...questionOf(rows.workloads, dice(seed), false), tried }
      for (let n = 0; n <= rows.workloads.length; n++) {
        const route = resolveOutbound(state, question, { address: ip(to.address), port: to.port })
        if (route.kind === 'reject' || route.kind === 'passthrough') return
        const { workload, service } = route.kind === 'resolve' ? route.way : route
        if (tried.has(workload.uid) && service) throw new Error(`${workload.uid} again`)
        tried.add(workload.uid)
        if (!service) return
      }
      throw new Error('it never ends')
    }),
    { numRuns: 2_000, seed: 20_263 },
  )
})

t.test('that all endpoints are ejected changes nothing', async () => {
  fc.assert(
    fc.property(meshes, destinations, fc.nat(), (mesh, to, seed) => {
      const rows = rowsOf(mesh)
      const state = new MeshState('n1')
      state.apply(rows)
      const base = questionOf(rows.workloads, dice(seed), false)
      const origDst = { address: ip(to.address), port: to.port }
      const all = new Set(rows.workloads.map(({ uid }) => uid))
      const ejected = resolveOutbound(state, { ...base, ejected: all }, origDst)
      const plain = possibleRoutes(rows, base, origDst)
      if (!plain.has(routeText(ejected))) throw new Error(`${routeText(ejected)} with all of them ejected`)
    }),
    { numRuns: 2_000, seed: 20_264 },
  )
})
