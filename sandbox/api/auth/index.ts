export type { User } from './user.ts'
export { createPki, type PkiFiles, pkiFiles } from './pki.ts'
export { kubeconfigFiles, writeKubeconfigs } from './kubeconfigs.ts'
export { type Authenticator, createAuthenticator, type Credentials } from './authenticator.ts'
export {
  type IssuedToken,
  type ServiceAccountRef,
  type TokenBinding,
  tokenIssuer,
  type TokenRequestSpec,
  type TokenVerdict,
  type UidLookup,
} from './tokens.ts'
export { type Attributes, type Authorization, authorize, forbiddenMessage, type RbacSource } from './rbac.ts'
export { bootstrapRbac } from './bootstrap-rbac.ts'
export {
  type Impersonation,
  impersonation,
  rulesReview,
  selfSubjectAccessReview,
  subjectAccessReview,
  userInfo,
} from './access-review.ts'
