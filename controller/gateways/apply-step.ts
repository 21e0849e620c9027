import { isRecord } from '#base'
import type { KubeObject } from '#kube'
import { names } from './names.ts'
import type { Child } from './render.ts'

/** What to do about one child. */
type ApplyStep =
  | Readonly<{ kind: 'none' }>
  | Readonly<{ kind: 'apply'; resourceVersion: string | undefined }>
  /** Somebody else's object has the name. */
  | Readonly<{ kind: 'foreign'; owner: string }>

/** `live` is the object of that name, if any: one that we did not make, or made for another Gateway, is never touched. */
export function applyStep(child: Child, live: KubeObject | undefined): ApplyStep {
  if (live === undefined) return { kind: 'apply', resourceVersion: undefined }
  const labels = live.metadata.labels ?? {}
  if (!(names.managed in labels)) return { kind: 'foreign', owner: 'somebody else' }
  const gateway = labels[names.gatewayName]
  if (gateway !== child.metadata.labels[names.gatewayName])
    return { kind: 'foreign', owner: `Gateway ${gateway ?? 'of no name'}` }
  return { kind: 'apply', resourceVersion: live.metadata.resourceVersion }
}

/** Is all that is wanted in what there is? Lists are compared item by item; what the API server added is not looked at. */
export function isIn(wanted: unknown, live: unknown): boolean {
  if (Array.isArray(wanted))
    return (
      Array.isArray(live) && live.length === wanted.length && wanted.every((item, i) => isIn(item, live[i]))
    )
  if (isRecord(wanted)) {
    if (!isRecord(live)) return Object.keys(wanted).length === 0
    return Object.entries(wanted).every(([key, value]) => isIn(value, live[key]))
  }
  return wanted === live
}
