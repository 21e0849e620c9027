/** Envoy's long names of response flags. */
export const flagNames: Readonly<Record<string, string>> = {
  DC: 'DownstreamConnectionTermination',
  DI: 'DelayInjected',
  DPE: 'DownstreamProtocolError',
  FI: 'FaultInjected',
  LR: 'LocalReset',
  NC: 'NoClusterFound',
  NR: 'NoRouteFound',
  UC: 'UpstreamConnectionTermination',
  UF: 'UpstreamConnectionFailure',
  UH: 'NoHealthyUpstream',
  UO: 'UpstreamOverflow',
  UPE: 'UpstreamProtocolError',
  UR: 'UpstreamRemoteReset',
  URX: 'UpstreamRetryLimitExceeded',
  UT: 'UpstreamRequestTimeout',
}
