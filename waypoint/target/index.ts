/** What a tunnel is for. Pure. */
export {
  type Accepted,
  keyOf,
  type RefuseReason,
  resolveTarget,
  type Self,
  type Target,
  type TargetReason,
} from './target.ts'
