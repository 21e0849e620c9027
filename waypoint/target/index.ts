/** What a tunnel is for. Pure. */
export {
  type Accepted,
  type RefuseReason,
  resolveTarget,
  type Self,
  type Target,
  type TargetReason,
} from './target.ts'
