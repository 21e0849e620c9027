import { messageOf } from '#base'
import { ads } from '#wire'

/** A resource as it came over the wire; what the bytes mean is the handler's business. */
export type Resource = Readonly<{ name: string; version: string; bytes: Uint8Array }>
/** A resource that the handler did not take, and why. It goes back to the server as a NACK. */
export type Rejection = Readonly<{ name: string; reason: string }>
/** Takes the resources of one type. */
export type Handler = Readonly<{
  /** Applies one response as a whole, removals first; the resources that it does not name are accepted. */
  apply(upserts: readonly Resource[], removed: readonly string[]): readonly Rejection[]
  /** What to ask for; without it everything. */
  names?: readonly string[]
}>

/** Who we are to the control plane. */
export type Node = Readonly<{ id: string; metadata: Readonly<Record<string, unknown>> }>

/** Bytes of reasons in one NACK; a server need not read more, and a header could not carry it. */
const maxReasonBytes = 4096

/** What is held of one type: the version last accepted per name, '' for one that was rejected or has none. */
export class TypeState {
  readonly typeUrl: string
  readonly #handler: Handler
  readonly #held = new Map<string, string>()
  constructor(typeUrl: string, handler: Handler) {
    this.typeUrl = typeUrl
    this.#handler = handler
  }

  /** The first request of a stream: everything, or what the handler names, except for what we already have. */
  firstRequest(node: Node): ads.DeltaDiscoveryRequest {
    return {
      ...emptyRequest,
      node: { id: node.id, cluster: '', metadata: { ...node.metadata }, buildVersion: '' },
      typeUrl: this.typeUrl,
      resourceNamesSubscribe: [...(this.#handler.names ?? [])],
      initialResourceVersions: Object.fromEntries(this.#held),
    }
  }

  /** Applies a response and returns the ACK or NACK; `applied` is false when the handler has failed at it as a whole. */
  answer(response: ads.DeltaDiscoveryResponse): {
    request: ads.DeltaDiscoveryRequest
    rejected: readonly Rejection[]
    applied: boolean
  } {
    const upserts = response.resources.map(({ name, version, resource }) => ({
      name,
      version,
      bytes: resource?.value ?? new Uint8Array(),
    }))
    const { rejected, applied } = this.#apply(upserts, response.removedResources)
    const refused = new Set(rejected.map(({ name }) => name))
    // A rejected one keeps its name, so that we learn of its removal, but no version, so that it comes again.
    for (const { name, version } of upserts) this.#held.set(name, refused.has(name) ? '' : version)
    const request = { ...emptyRequest, typeUrl: this.typeUrl, responseNonce: response.nonce }
    return {
      request: rejected.length === 0 ? request : { ...request, errorDetail: nack(rejected) },
      rejected,
      applied,
    }
  }

  /** What the handler failed to remove is still held, so that the next stream reports it and it is removed then. */
  #apply(upserts: readonly Resource[], removed: readonly string[]) {
    try {
      const rejected = this.#handler.apply(upserts, removed)
      for (const name of removed) this.#held.delete(name)
      return { rejected, applied: true }
    } catch (error) {
      const reason = `could not be applied: ${messageOf(error)}`
      const named = upserts.length > 0 ? upserts : [{ name: 'removal' }]
      return { rejected: named.map(({ name }) => ({ name, reason })), applied: false }
    }
  }
}

const emptyRequest: ads.DeltaDiscoveryRequest = {
  node: undefined,
  typeUrl: '',
  resourceNamesSubscribe: [],
  resourceNamesUnsubscribe: [],
  initialResourceVersions: {},
  responseNonce: '',
  errorDetail: undefined,
}

const nack = (rejected: readonly Rejection[]): ads.Status => ({
  code: 0,
  message: rejected
    .map(({ name, reason }) => `${name}: ${reason}`)
    .join('; ')
    .slice(0, maxReasonBytes),
  details: [],
})

/** The answer to a response of a type that was never asked for (ztunnel: logged and ACKed). */
export const acknowledge = (response: ads.DeltaDiscoveryResponse): ads.DeltaDiscoveryRequest => ({
  ...emptyRequest,
  typeUrl: response.typeUrl,
  responseNonce: response.nonce,
})
