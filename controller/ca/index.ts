export {
  type Authority,
  authorityFrom,
  type Lifetimes,
  type RootRules,
  servingCertificate,
  signWorkload,
} from './authority.ts'
export { callersFirst, type CertificateOptions, certificateService } from './certificate-service.ts'
export {
  afterRecheck,
  type Caller,
  mayImpersonate,
  type PodFacts,
  type Reason,
  type Recheck,
  type Verdict,
  type World,
} from './impersonation.ts'
export { type CaMetrics, caMetrics, showExpiry } from './metrics.ts'
export { type FollowOptions, followAuthority, type LiveAuthority, openAuthority } from './live-authority.ts'
export { disbelief } from './proof.ts'
export { isRenewalDue, type RenewRootOptions, rootRenewer } from './renew-root.ts'
export { type Rotation, rotationOf } from './rotation.ts'
