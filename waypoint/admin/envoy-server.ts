import type { Answer, Readiness } from '#telemetry'
import type { Config } from '../config.ts'
import type { Json } from './envoy-route.ts'

type State = 'LIVE' | 'DRAINING' | 'PRE_INITIALIZING'

const stateOf = ({ waitingFor }: Readiness): State =>
  waitingFor.length === 0 ? 'LIVE' : waitingFor.includes('leaving') ? 'DRAINING' : 'PRE_INITIALIZING'

/** Envoy's word for whether it serves. */
export function answerReady(readiness: Readiness): Answer {
  const state = stateOf(readiness)
  return { status: state === 'LIVE' ? 200 : 503, body: `${state}\n` }
}

/** Envoy's /server_info. */
export const serverInfo = ({
  config,
  readiness,
}: Readonly<{ config: Config; readiness: Readiness }>): Json => ({
  version: config.version,
  state: stateOf(readiness),
  uptime_current_epoch: `${Math.round(process.uptime())}s`,
  uptime_all_epochs: `${Math.round(process.uptime())}s`,
  node: config.node,
})
