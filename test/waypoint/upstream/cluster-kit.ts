/** A cluster under a clock and dice of the test's. */
import { parseService, parseWorkload } from '#mesh'
import type { OutlierPolicy } from '#routes'
import { serviceWire, type WorkloadDraft, workloadWire } from '../../fakes/mesh.ts'
import { Cluster } from '../../../waypoint/upstream/cluster.ts'
import type { Outcome } from '../../../waypoint/upstream/index.ts'
import { policyOf } from '../kit.ts'

export const key = 'demo/web.demo.svc.cluster.local'
export const service = parseService(serviceWire({ name: 'web', ports: { 80: 8080 } }))
export const outliers: OutlierPolicy = {
  consecutive5xx: 3,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOriginFailures: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 50,
}

export const answers = (...statuses: number[]): Outcome[] =>
  statuses.map((status) => ({ kind: 'response', status }))
export const grpc = (...statuses: number[]): Outcome[] =>
  statuses.map((grpcStatus) => ({ kind: 'response', status: 200, grpcStatus }))
export const lost = (times: number): Outcome[] =>
  Array.from({ length: times }, () => ({ kind: 'local-failure' }) as const)
export const connected: Outcome = { kind: 'connected' }

export const workload = (name: string, n: number, draft: Partial<WorkloadDraft> = {}) =>
  parseWorkload(
    workloadWire({ name, addresses: [`10.0.0.${n}`], services: { [key]: { 80: 8080 } }, ...draft }),
  )

/** A cluster under a clock of the test. */
export function clusterOf(
  count: number,
  given: Parameters<typeof policyOf>[0],
  local?: ReturnType<typeof workload>,
) {
  const clock = { now: 1_000 }
  let n = 0
  const cluster = new Cluster(service, policyOf(given), {
    local: () => local,
    network: '',
    random: () => (n = (n + 0.37) % 1),
    now: () => clock.now,
  })
  cluster.reset(
    service,
    Array.from({ length: count }, (_, i) => workload(`h${i}`, i + 1)),
  )
  const names = () => {
    const seen = new Set<string>()
    for (let i = 0; i < 60; i++) seen.add(cluster.choose()?.workload.name ?? 'none')
    return [...seen].map(String).sort()
  }
  const host = (name: string) => {
    const found = [...cluster.hosts()].find((one) => one.workload.name === name)
    if (!found) throw new Error(name)
    return found
  }
  const fail = (name: string, times: number, status = 500) => {
    for (let i = 0; i < times; i++) cluster.report(host(name), { kind: 'response', status })
  }
  return { cluster, clock, names, host, fail }
}
