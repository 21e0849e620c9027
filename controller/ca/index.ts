export {
  type Authority,
  authorityFrom,
  openAuthority,
  servingCertificate,
  signWorkload,
} from './authority.ts'
export { callersFirst, type CertificateOptions, certificateService } from './certificate-service.ts'
export {
  type Caller,
  mayImpersonate,
  type PodFacts,
  type Reason,
  type Verdict,
  type World,
} from './impersonation.ts'
export { type CaMetrics, caMetrics } from './metrics.ts'
