export { Bag, type Place } from './bag.ts'
export { type Brand, codeOf, isRecord, messageOf, unreachable } from './types.ts'
export { type Code, facts, isRetryable, MeshError } from './mesh-error.ts'
export { abortable, type Backoff, backoffMs, maxTimerMs, retry, sleep, timerMs } from './retry.ts'
export { Ending, type EndSignal } from './ending.ts'
export { addFollower, dropFollower, follow, type Follower, lifetime } from './follow.ts'
export { collectWhenQuiet } from './collect-when-quiet.ts'
export { coalesce, destroying, within } from './dispose.ts'
export {
  type Cidr,
  cidrContains,
  formatAddress,
  type Ip,
  ip,
  ipFromBytes,
  ipToBytes,
  isIpv6,
  parseAddress,
  parseCidr,
  parseIp,
  type SocketAddress,
} from './ip.ts'
