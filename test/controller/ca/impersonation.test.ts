import t from 'tap'
import {
  afterRecheck,
  type Caller,
  mayImpersonate,
  type PodFacts,
  type Recheck,
  type World,
} from '../../../controller/ca/index.ts'

const ztunnel: PodFacts = {
  uid: 'z1',
  namespace: 'istio-system',
  serviceAccount: 'ztunnel',
  node: 'n1',
  terminal: false,
}
const order: PodFacts = { uid: 'o1', namespace: 'shop', serviceAccount: 'order', node: 'n1', terminal: false }
const caller: Caller = {
  namespace: 'istio-system',
  serviceAccount: 'ztunnel',
  pod: { name: 'ztunnel-1', uid: 'z1' },
}
const wanted = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' }

const world = (pods: readonly PodFacts[], own: PodFacts | undefined = ztunnel): World => ({
  trustDomain: 'cluster.local',
  trustedAccounts: new Set(['istio-system/ztunnel']),
  podNamed: (namespace, name) => (namespace === 'istio-system' && name === 'ztunnel-1' ? own : undefined),
  podsOnNode: (node) => [ztunnel, ...pods].filter((pod) => pod.node === node),
  recheck: async () => ({ kind: 'not-needed' }),
})

const cases: readonly [string, Caller, typeof wanted, World, string][] = [
  ['a running pod of that identity is on its node', caller, wanted, world([order]), 'allow'],
  ['several are, one of them running', caller, wanted, world([{ ...order, terminal: true }, order]), 'allow'],
  ['that pod has finished', caller, wanted, world([{ ...order, terminal: true }]), 'identity-not-on-node'],
  ['that pod is on another node', caller, wanted, world([{ ...order, node: 'n2' }]), 'identity-not-on-node'],
  ['that pod is not scheduled yet', caller, wanted, world([{ ...order, node: '' }]), 'identity-not-on-node'],
  [
    'the same account of another namespace is',
    caller,
    wanted,
    world([{ ...order, namespace: 'bank' }]),
    'identity-not-on-node',
  ],
  [
    'another account of that namespace is',
    caller,
    wanted,
    world([{ ...order, serviceAccount: 'payment' }]),
    'identity-not-on-node',
  ],
  [
    'a foreign trust domain',
    caller,
    { ...wanted, trustDomain: 'evil.org' },
    world([order]),
    'foreign-trust-domain',
  ],
  [
    'the caller is no node account',
    { ...caller, serviceAccount: 'istiod' },
    wanted,
    world([order]),
    'account-not-trusted',
  ],
  [
    'same account name, other namespace',
    { ...caller, namespace: 'shop' },
    wanted,
    world([order]),
    'account-not-trusted',
  ],
  [
    'the token is bound to no pod',
    { namespace: 'istio-system', serviceAccount: 'ztunnel' },
    wanted,
    world([order]),
    'token-not-pod-bound',
  ],
  [
    'the caller’s pod is unknown',
    { ...caller, pod: { name: 'ztunnel-9', uid: 'z1' } },
    wanted,
    world([order]),
    'caller-pod-unknown',
  ],
  [
    'a new pod has that name',
    { ...caller, pod: { name: 'ztunnel-1', uid: 'z0' } },
    wanted,
    world([order]),
    'caller-pod-replaced',
  ],
  [
    'the pod runs another account',
    caller,
    wanted,
    world([order], { ...ztunnel, serviceAccount: 'default' }),
    'caller-pod-of-other-account',
  ],
  [
    'the caller’s pod has finished',
    caller,
    wanted,
    world([order], { ...ztunnel, terminal: true }),
    'caller-pod-finished',
  ],
  [
    'the caller’s pod is on no node',
    caller,
    wanted,
    world([{ ...order, node: '' }], { ...ztunnel, node: '' }),
    'caller-pod-not-scheduled',
  ],
]
for (const [title, who, id, where, want] of cases)
  t.test(`${title}: ${want}`, async (t) => {
    const verdict = mayImpersonate(who, id, where)
    t.equal(verdict.verdict === 'allow' ? 'allow' : verdict.reason, want)
  })

const asked = (...pods: PodFacts[]): Recheck => ({ kind: 'asked', pods })
const rechecks: readonly [string, Recheck, string][] = [
  ['the watch is alive', { kind: 'not-needed' }, 'allow'],
  ['both pods are still there', asked(ztunnel, order), 'allow'],
  ['the API server is silent', { kind: 'unreachable', why: 'x' }, 'pods-not-confirmed'],
  ['the pod is gone', asked(ztunnel), 'identity-not-on-node'],
  ['the pod has finished', asked(ztunnel, { ...order, terminal: true }), 'identity-not-on-node'],
  [
    'another account has its place',
    asked(ztunnel, { ...order, serviceAccount: 'x' }),
    'identity-not-on-node',
  ],
  ['the caller’s own pod is gone', asked(order), 'caller-pod-unknown'],
  ['a new pod has the caller’s name', asked({ ...ztunnel, uid: 'z2' }, order), 'caller-pod-unknown'],
  ['the caller’s own pod has finished', asked({ ...ztunnel, terminal: true }, order), 'caller-pod-finished'],
]
for (const [title, recheck, want] of rechecks)
  t.test(`looked at again, ${title}: ${want}`, async (t) => {
    const verdict = afterRecheck(caller, wanted, 'n1', recheck)
    t.equal(verdict.verdict === 'allow' ? 'allow' : verdict.reason, want)
  })
