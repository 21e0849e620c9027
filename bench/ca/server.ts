/** The certificate service alone, in a process whose CPU time is its own. Ends with its parent. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createRoot, generateKeyPair, privateKeyPem } from '#identity'
import { Registry, silent } from '#telemetry'
import { ca } from '#wire'
import {
  authorityFrom,
  callersFirst,
  caMetrics,
  certificateService,
  servingCertificate,
} from '../../controller/ca/index.ts'
import { listen, newGrpcServer, RenewableCredentials } from '../../controller/grpc.ts'

const encode = (text: string) => Buffer.from(text).toString('base64')
const root = createRoot({ organization: 'cluster.local', validityMs: 24 * 3600_000 })
const authority = authorityFrom({
  metadata: { name: 'istio-ca-secret' },
  data: { 'ca-cert.pem': encode(root.certPem), 'ca-key.pem': encode(root.keyPem) },
})
const ztunnel = { namespace: 'istio-system', serviceAccount: 'ztunnel', pod: { name: 'z', uid: 'z' } }
const pod = { uid: 'z', namespace: 'istio-system', serviceAccount: 'ztunnel', node: 'n', terminal: false }
const options = {
  authority: () => authority,
  authenticate: async () => ({ kind: 'caller' as const, ...ztunnel }),
  mayAsk: () => true,
  world: {
    trustDomain: 'cluster.local',
    trustedAccounts: new Set(['istio-system/ztunnel']),
    podNamed: () => pod,
    podsOnNode: () => [{ ...pod, namespace: 'shop', serviceAccount: 'order' }],
    recheck: async () => ({ kind: 'not-needed' as const }),
  },
  log: silent,
  metrics: caMetrics(new Registry()),
}
const server = newGrpcServer([callersFirst(options)])
server.addService(ca.IstioCertificateServiceService, certificateService(options))
const keys = generateKeyPair()
const { chainPem } = servingCertificate(authority, keys.publicKey, { dns: ['ca.bench'] })
const credentials = new RenewableCredentials({ keyPem: privateKeyPem(keys.privateKey), chainPem })
const port = await listen(server, 0, credentials)
const delay = monitorEventLoopDelay({ resolution: 5 })
delay.enable()
process.on('disconnect', () => process.exit(0))
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({ cpuUs: user + system, p99Ms: delay.percentile(99) / 1e6 })
  delay.reset()
})
process.send?.({ port, rootPem: root.certPem })
