/** Every number that bounds an HBONE connection. All may be changed per connection. */
export type HboneLimits = Readonly<{
  /** Streams that a peer may have open with our server (ztunnel advertises 200). */
  maxStreams: number
  /** Streams that our pool puts on one connection, if the peer allows as many (ztunnel: 100). */
  maxPooledStreams: number
  /**
   * The flow control window of a stream: what it begins with, and what it may grow to while its bytes are taken. The
   * streams of a connection share the connection's window, so who stands still never gets all of it.
   */
  firstStreamWindow: number
  streamWindow: number
  /** All that a peer can make us hold: its bytes are credited when they have left our hands. */
  connectionWindow: number
  /** Largest DATA frame that we let the peer send; payloads are never collected, so it costs no memory. */
  maxFrameBytes: number
  /** One header block, compressed or decoded with 32 bytes added per field. */
  maxHeaderBytes: number
  maxHeaderFields: number
  /** With more than this waiting for slow readers of one connection, those that stand still are reset. */
  maxHeldBytes: number
  /** Memory for what waits, which comes in pieces larger than the bytes; a tunnel that gets none is reset. */
  maxBufferBytes: number
  /** Header fields of one connection's open requests. */
  maxHeldHeaderBytes: number
  /** Control bytes (acknowledgements, credit) that may wait for a peer that does not read, beside our own requests and answers. */
  maxUnsentControlBytes: number
  /** PING, SETTINGS, PRIORITY, unknown, useless WINDOW_UPDATE and empty DATA frames per `controlWindowMs`. */
  maxControlFrames: number
  controlWindowMs: number
  /** As many streams reset before we answered them, per `controlWindowMs`, are too many (CVE-2023-44487). */
  maxUnansweredResets: number
  /** As many malformed or refused requests are too many in the life of a connection (CVE-2025-8671). */
  maxGlitches: number
  handshakeMs: number
  /** How long a peer may take to send its SETTINGS and to acknowledge ours. */
  settingsMs: number
  /** How long a header block, or a frame other than DATA, may stay unfinished, which stops everything else on its connection. */
  headerBlockMs: number
  /** How long a CONNECT may wait for its answer. */
  answerMs: number
  /** Quiet time before a PING, and how long its answer may take. */
  pingIdleMs: number
  pingTimeoutMs: number
  /** How long a pooled connection may stay without a new tunnel. */
  unusedReleaseMs: number
  /** Connections without a tunnel that a pool keeps: who talks to the whole mesh once must not hold a connection to all of it. */
  maxUnused: number
  /** How long a tunnel may stand still while its connection has no room left, before it is reset. */
  stallMs: number
  /** How long a tunnel may go on after the certificate of its peer has expired; no new one begins. */
  peerExpiryGraceMs: number
}>

/**
 * Istio's numbers where it has one (facts: ztunnel.md §2.3, §2.6; security.md §4.1, ID-4). Its windows of 4 and 16 MiB
 * bound no memory; ours are such that one peer holds less than 16 MiB.
 */
export const defaultLimits: HboneLimits = {
  maxStreams: 200,
  maxPooledStreams: 100,
  firstStreamWindow: 32 << 10,
  streamWindow: 4 << 20,
  connectionWindow: 8 << 20,
  maxFrameBytes: 1 << 20,
  maxHeaderBytes: 64 << 10,
  maxHeaderFields: 100,
  maxHeldBytes: 7 << 20,
  maxBufferBytes: 14 << 20,
  maxHeldHeaderBytes: 1 << 20,
  maxUnsentControlBytes: 64 << 10,
  maxControlFrames: 1000,
  controlWindowMs: 10_000,
  maxUnansweredResets: 100,
  maxGlitches: 50,
  handshakeMs: 5_000,
  settingsMs: 10_000,
  headerBlockMs: 5_000,
  answerMs: 10_000,
  pingIdleMs: 10_000,
  pingTimeoutMs: 20_000,
  unusedReleaseMs: 300_000,
  maxUnused: 256,
  stallMs: 10_000,
  peerExpiryGraceMs: 300_000,
}

/** Complete limits; those that follow from the connection's window follow it, unless they are given too. */
export function limitsOf(given: Partial<HboneLimits> = {}): HboneLimits {
  const { connectionWindow = defaultLimits.connectionWindow } = given
  const scale = connectionWindow / defaultLimits.connectionWindow
  return {
    ...defaultLimits,
    maxHeldBytes: Math.floor(defaultLimits.maxHeldBytes * scale),
    maxBufferBytes: Math.floor(defaultLimits.maxBufferBytes * Math.max(1, scale)),
    ...given,
  }
}
