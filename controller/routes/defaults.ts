import {
  type Destination,
  type HttpRule,
  type L4Rule,
  type Origin,
  type OutlierPolicy,
  type RetryPolicy,
  usualHttpRule,
  usualL4Rule,
  usualRetry,
} from '#routes'
import type { RoutedService } from './routed-service.ts'

export { noHeaders, usualPolicy, usualRetry } from '#routes'

/** Did nobody say what is tried again? Whoever reads that makes a list of statuses of its own, if only an empty one. */
export const isUnsaid = ({ statuses }: RetryPolicy): boolean => statuses === usualRetry.statuses

/** What an outlierDetection leaves unsaid; without one there is none. */
export const usualOutliers: OutlierPolicy = {
  consecutive5xx: 5,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOriginFailures: 5,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 10,
}

export const toItself = ({ name }: RoutedService, port: number): Destination => ({
  kind: 'service',
  service: name,
  port,
})

const ownOrigin = ({ kind, key }: RoutedService): Origin => ({ kind, name: key })

/** HTTP to a service without routes. */
export const usualHttp = (service: RoutedService, port: number): HttpRule =>
  usualHttpRule(toItself(service, port), ownOrigin(service))

/** Everything else to a service without routes. */
export const usualL4 = (service: RoutedService, port: number): L4Rule =>
  usualL4Rule(toItself(service, port), ownOrigin(service))
