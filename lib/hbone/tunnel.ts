import type { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import type { SocketAddress } from '#base'
import type { ByteStream } from './byte-stream.ts'
import type { SpiffeId } from '#identity'

/** Bytes that a finished forward has moved; `error` is what ended it early, if anything did. */
export type Transferred = Readonly<{ toApp: number; fromApp: number; error?: unknown }>

/** One CONNECT stream of an HBONE connection. */
export type Tunnel = Readonly<{
  /** The other end's verified identity. */
  peer: SpiffeId
  /** The other end's TCP address. */
  remote: SocketAddress
  /** Breaks both directions off at once: to the applications it is a reset. */
  reset(): void
  /** Names who is told that its connection takes no more tunnels, and may not last: whoever can had better go on in another. */
  onLeaving(told: () => void): void
  /** Copies bytes both ways until both directions are done or `signal` fires; never rejects. */
  forward(app: Socket, signal: AbortSignal): Promise<Transferred>
  /** A stream view for callers that read the bytes themselves. Use either this or `forward`. */
  duplex(): Duplex
  /** A view for parsers: cheaper than `duplex`. Use one of the three. */
  byteStream(): ByteStream
}>

/** A tunnel that a peer asks for; it waits until it is accepted or refused. */
export type InboundTunnel = Tunnel &
  Readonly<{
    /** `CONNECT`, unless the peer asked for something that HBONE does not serve. */
    method: string
    /** `ip:port` or `hostname:port`, as the peer wrote it. */
    authority: string
    /** Lower-case names; several lines of one name are joined by commas. */
    headers: ReadonlyMap<string, string>
    /** Fires when the peer gives up, or is lost, before its answer: to be asked for while there is none. */
    readonly lost: AbortSignal
    /** Answers 200, with these headers. */
    accept(headers?: Readonly<Record<string, string>>): void
    /** Answers `status` and ends the stream. */
    refuse(status: number): void
  }>

/** A tunnel that the other end has accepted with 200. */
export type OutboundTunnel = Tunnel & Readonly<{ responseHeaders: ReadonlyMap<string, string> }>
