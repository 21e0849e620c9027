import type { Condition } from '#kube'
import type { ReadRules } from './policy-rules.ts'
import type { Notes } from './problems.ts'

/** A condition's message may be 32 KiB; a reader wants far less. */
const maxMessage = 1024

/** The condition in which ztunnel's part of a policy is reported (Istio's name). */
export const ztunnelAccepted = (status: 'True' | 'False', reason: string, message: string): Condition => ({
  type: 'ZtunnelAccepted',
  status,
  reason,
  message: message.slice(0, maxMessage),
})

/** What is understood and not done. */
export const unsupported = (message: string): Condition =>
  ztunnelAccepted('False', 'UnsupportedValue', message)

/** What waypoints, which judge by L4 attributes alone so far, make stricter; undefined where it is enforced as written. */
export function waypointLimits(action: unknown, { changed }: ReadRules): string | undefined {
  const unread = changed.filter(({ layer7 }) => layer7.length === 0)
  const effects = changed
    .filter(({ layer7 }) => layer7.length > 0)
    .map(({ path, effect, layer7 }) => `${path} (${layer7.join(', ')}) ${effect}`)
  if (action === 'CUSTOM') effects.unshift('no external authorizer is asked: what the rules match is denied')
  const sentences = [
    ...unread.map(({ path, effect }) => `for what cannot be read, ${path} ${effect}`),
    ...(effects.length === 0 ? [] : [`waypoints do not judge L7 attributes yet: ${effects.join(', ')}`]),
  ]
  return sentences.length === 0 ? undefined : sentences.join('; ')
}

/** What ztunnel makes of a policy, and of which rules something else than was written. */
export function ztunnelCondition(action: unknown, { changed }: ReadRules, { invalid }: Notes): Condition {
  const effects = changed.map(({ path, effect, layer7 }) =>
    layer7.length === 0 ? `${path} ${effect}` : `${path} (${layer7.join(', ')}) ${effect}`,
  )
  if (invalid.length > 0) {
    const what = effects.length === 0 ? '' : `${effects.join(', ')}: `
    return ztunnelAccepted('False', 'Invalid', `${what}${invalid.join('; ')}`)
  }
  const beside = effects.length === 0 ? '' : `; ${sentenceOn(effects)}`
  if (action === 'CUSTOM')
    return unsupported(
      `ztunnel cannot ask an external authorizer; connections that the rules match are denied${beside}`,
    )
  if (effects.length > 0) return ztunnelAccepted('True', 'UnsupportedValue', sentenceOn(effects))
  return ztunnelAccepted('True', 'Accepted', action === 'AUDIT' ? audited : 'attached to ztunnel')
}

const sentenceOn = (effects: readonly string[]) =>
  `ztunnel does not enforce L7 attributes, which need a waypoint: ${effects.join(', ')}`
const audited =
  'attached to ztunnel; connections that the rules match are logged and counted, and never refused'
