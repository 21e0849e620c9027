import t, { type Test } from 'tap'
import { type Custom, type KubeObject, kinds, KubeError, reflect } from '#kube'
import { silent } from '#telemetry'
import {
  bundledWebhooks,
  type Proof,
  proofOf,
  type Standing,
  standingAfter,
  webhookBundleWriter,
  webhookNames,
} from '../../../controller/reconcile/index.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'

const name = 'istio-validator-istio-system'
const ours = (more: object = {}) => ({
  name: 'rev.validation.istio.io',
  clientConfig: { service: { name: 'istiod', namespace: 'istio-system', path: '/validate' } },
  failurePolicy: 'Ignore',
  ...more,
})
const theirs = { name: 'x.y', clientConfig: { url: 'https://x', caBundle: 'eA==' }, failurePolicy: 'Ignore' }
const configuration = (of: string, ...webhooks: object[]): KubeObject & Record<string, unknown> => ({
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'ValidatingWebhookConfiguration',
  metadata: { name: of },
  webhooks,
})

t.test('the configurations are Istio’s, those of a revision by its name', async (t) => {
  t.strictSame(webhookNames('istio-system', 'default'), [name, 'istiod-default-validator'])
  t.strictSame(webhookNames('mesh', '1-30'), ['istio-validator-1-30-mesh', 'istiod-default-validator'])
})

t.test('only webhooks of ours are changed, and only where they differ', async (t) => {
  const wanted = { namespace: 'istio-system', pem: 'roots', policy: undefined }
  const caBundle = Buffer.from('roots').toString('base64')
  const bundled = bundledWebhooks(configuration(name, ours(), theirs) as Custom, wanted)
  t.match(bundled, [
    { clientConfig: { caBundle, service: { name: 'istiod' } }, failurePolicy: 'Ignore' },
    theirs,
  ])
  const done = configuration(name, ...(bundled as object[])) as Custom
  t.equal(bundledWebhooks(done, wanted), undefined)
  t.equal(bundledWebhooks(done, { ...wanted, policy: 'Ignore' }), undefined)
  t.match(bundledWebhooks(done, { ...wanted, policy: 'Fail' }), [{ failurePolicy: 'Fail' }, theirs])
  t.ok(bundledWebhooks(done, { ...wanted, pem: 'other roots' }))
  for (const odd of [{}, { webhooks: 5 }, { webhooks: [5, null, {}] }])
    t.equal(bundledWebhooks({ metadata: { name }, ...odd } as Custom, wanted), undefined)
})

const refusal =
  'admission webhook "rev.validation.istio.io" denied the request: PeerAuthentication istio-system/x: metadata.annotations: internal.istio.io/webhook-always-reject asks for this refusal'
const proofs: readonly (readonly [string, unknown, Proof['kind']])[] = [
  ['written', undefined, 'let-through'],
  ['refused by us', new KubeError(422, 'Invalid', refusal), 'refused'],
  [
    'refused by Istio’s',
    new KubeError(400, 'BadRequest', 'saw internal.istio.io/webhook-always-reject'),
    'refused',
  ],
  ['refused by somebody else', new KubeError(403, 'Forbidden', 'no right'), 'impossible'],
  ['of an unknown kind', new KubeError(404, 'NotFound', 'no such kind'), 'impossible'],
  ['not sent to us', new KubeError(500, 'InternalError', 'failed calling webhook'), 'unanswered'],
  ['not answered', new KubeError(0, '', 'no API server'), 'unanswered'],
  ['lost', new Error('x'), 'unanswered'],
]
for (const [title, error, kind] of proofs)
  t.test(`a trial that is ${title}: ${kind}`, async (t) => void t.equal(proofOf(error).kind, kind))

t.test('Fail once it has been seen to refuse; Ignore after three misses; else as it was found', async (t) => {
  const after = (...kinds: Proof['kind'][]) =>
    kinds.reduce<Standing>((standing, kind) => standingAfter(standing, { kind, why: '' } as Proof), {
      policy: undefined,
      misses: 0,
    }).policy
  t.equal(after('refused'), 'Fail')
  t.equal(after('let-through', 'unanswered'), undefined)
  t.equal(after('let-through', 'let-through', 'let-through'), 'Ignore')
  t.equal(after('refused', 'unanswered', 'unanswered'), 'Fail')
  t.equal(after('refused', 'unanswered', 'refused', 'unanswered', 'unanswered'), 'Fail')
  t.equal(after('refused', 'unanswered', 'unanswered', 'unanswered'), 'Ignore')
  t.equal(after('impossible', 'impossible', 'impossible', 'impossible'), undefined)
  t.equal(after('unanswered', 'unanswered', 'unanswered', 'refused'), 'Fail')
})

/** A leader's writer against an API server that `answer` speaks for when the trial comes. */
async function start(t: Test, ...objects: (KubeObject & Record<string, unknown>)[]) {
  const kube = await FakeKube.start(...objects)
  const state: { trials: unknown[]; status: number; message: string } = {
    trials: [],
    status: 422,
    message: refusal,
  }
  kube.hook(({ method, path, body }) => {
    if (method !== 'POST' || !path.includes('peerauthentications')) return undefined
    state.trials.push(body)
    return state.status === 201
      ? { status: 201, body }
      : { status: state.status, body: { kind: 'Status', message: state.message } }
  })
  const [leading, ending] = [new AbortController(), new AbortController()]
  const client = kube.client()
  const configurations = reflect(client, kinds.ValidatingWebhookConfiguration, {
    signal: AbortSignal.any([leading.signal, ending.signal]),
  })
  await configurations.synced
  const done = webhookBundleWriter({
    client,
    namespace: 'istio-system',
    revision: 'default',
    configurations,
    pem: () => 'roots',
    onChange: () => ({ [Symbol.dispose]: () => undefined }),
    ending: ending.signal,
    log: silent,
    pauseMs: { proved: 20, unproved: 10 },
  })(AbortSignal.any([leading.signal, ending.signal]))
  t.teardown(async () => {
    leading.abort()
    await done
    await kube[Symbol.asyncDispose]()
  })
  type Stored = { webhooks?: { failurePolicy?: string; clientConfig?: { caBundle?: string } }[] }
  const stored = (of = name) =>
    (kube.read(kinds.ValidatingWebhookConfiguration, of) as Stored | undefined)?.webhooks?.[0]
  return { kube, state, stored, leading, ending, done }
}

t.test('the API server is told to refuse what nobody could check, as long as somebody can', async (t) => {
  const { state, stored } = await start(
    t,
    configuration(name, ours()),
    configuration('istiod-default-validator', ours()),
  )
  await until(
    () => stored()?.failurePolicy === 'Fail' && stored('istiod-default-validator')?.failurePolicy === 'Fail',
    'Fail',
  )
  t.ok(stored()?.clientConfig?.caBundle, 'not before our roots are there')
  t.match(state.trials[0], {
    metadata: {
      namespace: 'istio-system',
      labels: { 'istio.io/rev': 'default' },
      annotations: { 'internal.istio.io/webhook-always-reject': 'true' },
    },
  })
  Object.assign(state, { status: 500, message: 'failed calling webhook: connection refused' })
  await until(
    () => stored()?.failurePolicy === 'Ignore',
    'nobody is locked out by a webhook that is not reached',
  )
  Object.assign(state, { status: 422, message: refusal })
  await until(() => stored()?.failurePolicy === 'Fail', 'Fail again')
})

t.test(
  'a webhook that is not asked stays as it is, and nothing is tried without a configuration',
  async (t) => {
    const { kube, state, stored } = await start(t)
    state.status = 201
    kube.put(configuration(name, ours()))
    await until(() => state.trials.length > 5, 'trials')
    t.equal(stored()?.failurePolicy, 'Ignore')
    const none = await start(t)
    await new Promise((done) => setImmediate(done))
    t.equal(none.state.trials.length, 0)
  },
)

t.test('who ends opens up; who only stops leading leaves it to the next one', async (t) => {
  const ends = await start(t, configuration(name, ours()))
  await until(() => ends.stored()?.failurePolicy === 'Fail', 'Fail')
  ends.ending.abort()
  await ends.done
  t.equal(ends.stored()?.failurePolicy, 'Ignore')
  const loses = await start(t, configuration(name, ours()))
  await until(() => loses.stored()?.failurePolicy === 'Fail', 'Fail')
  loses.leading.abort()
  await loses.done
  t.equal(loses.stored()?.failurePolicy, 'Fail')
})
