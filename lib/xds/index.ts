/** One delta ADS stream: resources in, ACK or NACK out, resumed by versions. */
export { subscribe, type SubscribeOptions, type Subscription } from './subscribe.ts'
/** What a handler is given, and what it says about it. */
export type { Handler, Node, Rejection, Resource } from './delta.ts'
/** The client's counters. */
export { xdsMetrics, type XdsMetrics } from './metrics.ts'
