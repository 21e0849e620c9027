import {
  Metadata,
  type sendUnaryData,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerUnaryCall,
  status,
} from '@grpc/grpc-js'
import { messageOf } from '#base'
import { parseCsr, parseSpiffeId, partsOf, type SpiffeId, spiffeId } from '#identity'
import type { Fields, Logger } from '#telemetry'
import { ca } from '#wire'
import { type Authority, type Lifetimes, signWorkload } from './authority.ts'
import { afterRecheck, type Caller, hints, mayImpersonate, type Reason, type World } from './impersonation.ts'
import type { CaMetrics } from './metrics.ts'

/** What signing depends on. */
export type CertificateOptions = Readonly<{
  authority: () => Authority
  /** Who sent this request; a reason when that cannot be said. */
  authenticate: (
    metadata: Metadata,
    peer: string,
  ) => Promise<
    Readonly<{ kind: 'caller' } & Caller> | Readonly<{ kind: 'refused'; reason: string; later: boolean }>
  >
  /** May this caller ask for one more certificate now? */
  mayAsk: (caller: Caller) => boolean
  world: World
  lifetimes?: Lifetimes
  log: Logger
  metrics: CaMetrics
}>

/** What the request is answered with; `reason` and `fields` are for our log only. */
type Answer =
  | Readonly<{ kind: 'signed'; id: SpiffeId; chain: readonly string[] }>
  | Readonly<{ kind: 'refused'; code: status; message: string; reason: string; fields?: Fields }>

/** The one sentence that a refused caller gets: why is nobody's business but the operator's. */
const opaque = 'request authentication failure'
const opaqueImpersonation = 'request impersonation authentication failure'

const impersonationRefused = (reason: Reason | 'not-a-spiffe-id', fields: Fields): Answer => ({
  kind: 'refused',
  ...(reason === 'pods-not-confirmed'
    ? { code: status.UNAVAILABLE, message: 'certificate service unavailable' }
    : { code: status.UNAUTHENTICATED, message: opaqueImpersonation }),
  reason,
  fields,
})

/** Of what a caller asked for, in our log. */
const maxShownChars = 300

const { path } = ca.IstioCertificateServiceService.createCertificate

/**
 * Asks who calls, and whether he asks too often, before a byte of the request is read: a request is held in memory until
 * it is complete, and what strangers may make us hold would have no end. The service asks again who it is; the answer is
 * remembered.
 */
export const callersFirst =
  ({
    authenticate,
    mayAsk,
    log,
    metrics,
  }: Pick<CertificateOptions, 'authenticate' | 'mayAsk' | 'log' | 'metrics'>): ServerInterceptor =>
  (method, call) => {
    if (method.path !== path) return new ServerInterceptingCall(call)
    const refuse = (reason: string, code: status) => {
      metrics.requests.inc()
      if (code === status.UNAUTHENTICATED) metrics.unauthenticated.inc()
      log.warn('certificate refused', { peer: call.getPeer(), reason })
      call.sendStatus({ code, details: opaque, metadata: new Metadata() })
    }
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            authenticate(metadata, call.getPeer()).then(
              (caller) => {
                if (caller.kind === 'refused') refuse(caller.reason, codeOf(caller))
                else if (mayAsk(caller)) pass(metadata)
                else refuse(`asks too often: ${nameOf(caller)}`, status.RESOURCE_EXHAUSTED)
              },
              (error: unknown) => refuse(messageOf(error), status.UNAVAILABLE),
            )
          },
        }),
    })
  }

const codeOf = ({ later }: Readonly<{ later: boolean }>) =>
  later ? status.UNAVAILABLE : status.UNAUTHENTICATED

const nameOf = ({ namespace, serviceAccount, pod }: Caller) =>
  `${namespace}/${serviceAccount} (pod ${pod?.name ?? 'none'})`

type Call = ServerUnaryCall<ca.IstioCertificateRequest, ca.IstioCertificateResponse>

/** Implements `istio.v1.auth.IstioCertificateService`. */
export function certificateService(options: CertificateOptions) {
  const { log, metrics } = options
  const createCertificate = async (call: Call): Promise<Answer> => {
    metrics.requests.inc()
    const caller = await options.authenticate(call.metadata, call.getPeer())
    if (caller.kind === 'refused')
      return { kind: 'refused', code: codeOf(caller), message: opaque, reason: caller.reason }
    const subject = await subjectOf(caller, call.request, options)
    if (typeof subject !== 'string') return subject
    const csr = parseCsr(call.request.csr)
    if ('reject' in csr) {
      metrics.unreadable.inc()
      return {
        kind: 'refused',
        code: status.INVALID_ARGUMENT,
        message: csr.reject,
        reason: csr.reject,
        fields: { caller: nameOf(caller) },
      }
    }
    const lifetimeMs = Number(call.request.validityDuration) * 1000
    const { authority, lifetimes } = options
    const chain = signWorkload(authority(), subject, csr.publicKey, lifetimeMs, lifetimes && { lifetimes })
    return { kind: 'signed', id: subject, chain }
  }
  return {
    createCertificate(call: Call, reply: sendUnaryData<ca.IstioCertificateResponse>) {
      createCertificate(call).then(
        (answer) => {
          if (answer.kind === 'signed') {
            metrics.issued.inc()
            log.debug('certificate issued', { identity: answer.id, peer: call.getPeer() })
            return reply(null, { certChain: [...answer.chain] })
          }
          if (answer.code === status.UNAUTHENTICATED) metrics.unauthenticated.inc()
          log.warn('certificate refused', { peer: call.getPeer(), reason: answer.reason, ...answer.fields })
          reply({ code: answer.code, details: answer.message })
        },
        (error: unknown) => {
          metrics.failed.inc()
          log.error('certificate service failed', { error: messageOf(error) })
          reply({ code: status.UNAVAILABLE, details: 'certificate service failed' })
        },
      )
    },
  }
}

/** The identity that the certificate will have: the caller's own, or the one it may speak for. */
async function subjectOf(
  caller: Caller,
  { metadata }: ca.IstioCertificateRequest,
  { world, metrics }: CertificateOptions,
): Promise<SpiffeId | Answer> {
  const wanted: unknown = metadata?.['ImpersonatedIdentity']
  if (wanted === undefined || wanted === '')
    return spiffeId({
      trustDomain: world.trustDomain,
      namespace: caller.namespace,
      serviceAccount: caller.serviceAccount,
    })
  const asked = typeof wanted === 'string' ? wanted.slice(0, maxShownChars) : typeof wanted
  const fields = { caller: nameOf(caller), wanted: asked }
  const id = typeof wanted === 'string' ? parseSpiffeId(wanted) : undefined
  if (id === undefined) {
    metrics.unnamed.inc()
    return impersonationRefused('not-a-spiffe-id', fields)
  }
  const heard = mayImpersonate(caller, partsOf(id), world)
  const recheck = heard.verdict === 'allow' ? await world.recheck(heard.node) : undefined
  const verdict =
    heard.verdict === 'allow' && recheck ? afterRecheck(caller, partsOf(id), heard.node, recheck) : heard
  if (verdict.verdict === 'allow') return id
  metrics.refused.inc({ reason: verdict.reason })
  const node = caller.pod && world.podNamed(caller.namespace, caller.pod.name)?.node
  return impersonationRefused(verdict.reason, {
    ...fields,
    ...(node ? { node } : {}),
    ...(recheck?.kind === 'unreachable' ? { why: recheck.why } : {}),
    hint: hints[verdict.reason],
  })
}
