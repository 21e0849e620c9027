export { parseSpiffeId, partsOf, type SpiffeId, spiffeId, type SpiffeParts } from './spiffe.ts'
export { generateKeyPair, type KeyPair, privateKeyPem } from './keys.ts'
export { createCsr, type CsrAnswer, parseCsr } from './csr.ts'
export {
  createRoot,
  issueCertificate,
  type IssueOptions,
  type Issuer,
  renewRoot,
  type Usage,
} from './issue.ts'
export { checkPeer, type PeerCheck } from './check-peer.ts'
export { certificateFacts, type CertificateFacts, splitPem } from './pem.ts'
export { parseCaAnswer, type WorkloadCertificate } from './workload-certificate.ts'
export { clientTls, type KeyExchange, meshTls, serverTls } from './tls.ts'
export { admitPeer, type Peer, type Refusal, type Standing, type Trust } from './trust.ts'
export { type Revocations, type RevocationsOptions, watchCrl } from './revocations.ts'
export { type FileWatchOptions, watchFile } from './file-watch.ts'
export { identityMetrics, type IdentityMetrics } from './metrics.ts'
export { Certificates, type CertificatesOptions, type CertificateState, type Sign } from './certificates.ts'
export { type CaClientOptions, createCaClient } from './ca-client.ts'
export { type Clock, systemClock, watchJumps } from './clock.ts'
export { isPath, rootFileOf, rootsOf, tokenOf } from './credentials.ts'
export { renewOnNewRoots, type RootParts } from './new-roots.ts'
export { dumpCertificates } from './dump-certificates.ts'
