import { type ServerDuplexStream, type ServiceDefinition } from '@grpc/grpc-js'
import { ads } from '#wire'
import type { Published } from './snapshot.ts'

/** A response whose resources are encoded already. */
export type Outgoing = Readonly<{
  typeUrl: string
  nonce: string
  resources: readonly Published[]
  removed: readonly string[]
  /** See `Response`. */
  joined?: Uint8Array
}>
export type Call = ServerDuplexStream<ads.DeltaDiscoveryRequest, Outgoing>

/** Bytes of the resources; names of what is removed and the frame are small beside them. */
export const bytesOf = ({ resources, joined }: Pick<Outgoing, 'resources' | 'joined'>): number =>
  joined?.length ?? resources.reduce((sum, { wire }) => sum + wire.length, 0)

/** The message that `ads.DeltaDiscoveryResponse` would give, without encoding a resource once per client. */
export function encodeOutgoing({ typeUrl, nonce, resources, removed, joined }: Outgoing): Buffer {
  const frame = { systemVersionInfo: '', typeUrl, nonce, resources: [], removedResources: [...removed] }
  return Buffer.concat([
    ads.DeltaDiscoveryResponse.encode(frame).finish(),
    ...(joined ? [joined] : resources.map(({ wire }) => wire)),
  ])
}

/** `AggregatedDiscoveryService`; deltas are sent of what is encoded already. */
export const adsService = {
  streamAggregatedResources: ads.AggregatedDiscoveryServiceService.streamAggregatedResources,
  deltaAggregatedResources: {
    ...ads.AggregatedDiscoveryServiceService.deltaAggregatedResources,
    responseSerialize: encodeOutgoing,
  },
} as const satisfies ServiceDefinition
