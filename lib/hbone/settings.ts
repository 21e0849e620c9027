import type { Role } from './connection-state.ts'
import { defaultMaxFrame, errorCode, largestMaxFrame, largestWindow, setting } from './frames.ts'

type PeerSettings = Readonly<{
  initialWindow?: number
  maxFrame?: number
  maxStreams?: number
  connectProtocol?: boolean
}>
type SettingsAnswer = PeerSettings | { code: number; reason: string }

/** More entries than real peers send by far; each costs us work. */
const maxEntries = 32

/** What a SETTINGS payload changes, or why it is an error (RFC 9113 §6.5). */
export function parseSettings(payload: Buffer, role: Role): SettingsAnswer {
  if (payload.length % 6 !== 0)
    return { code: errorCode.frameSizeError, reason: 'SETTINGS of a wrong length' }
  if (payload.length > 6 * maxEntries) return { code: errorCode.enhanceYourCalm, reason: 'too many settings' }
  const out: { -readonly [Name in keyof PeerSettings]: PeerSettings[Name] } = {}
  for (let at = 0; at < payload.length; at += 6) {
    const id = payload.readUInt16BE(at)
    const value = payload.readUInt32BE(at + 2)
    if (id === setting.initialWindowSize) {
      if (value > largestWindow)
        return { code: errorCode.flowControlError, reason: 'initial window too large' }
      out.initialWindow = value
    } else if (id === setting.maxFrameSize) {
      if (value < defaultMaxFrame || value > largestMaxFrame) return protocol('frame size out of range')
      out.maxFrame = value
    } else if (id === setting.maxConcurrentStreams) out.maxStreams = value
    else if (id === setting.enableConnectProtocol && value > 1) return protocol('a flag is 0 or 1')
    else if (id === setting.enableConnectProtocol) out.connectProtocol = value === 1
    else if (id === setting.enablePush && value > 1) return protocol('ENABLE_PUSH is 0 or 1')
    else if (id === setting.enablePush && value === 1 && role === 'client')
      return protocol('a server enables no push')
  }
  return out
}

const protocol = (reason: string) => ({ code: errorCode.protocolError, reason })
