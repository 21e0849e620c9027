import t from 'tap'
import { ip, isRecord } from '#base'
import { spiffeId } from '#identity'
import { type Custom, keyOf, Table } from '#kube'
import { applicableOf, type Authorization, type Connection, decide, decodeAuthorization } from '#policy'
import { security } from '#wire'
import { compilePolicy } from '../../../controller/collections/authorization-policy.ts'
import { meshFrom } from '../../../controller/collections/index.ts'
import { isSubset } from '../../../controller/collections/inputs.ts'
import { inputsOf, pod, settings } from './world.ts'

/** What cannot mean anything anywhere in a policy. */
const garbage: readonly unknown[] = [null, 5, true, [null], [[]], { a: 1 }, { a: { b: [] } }, -1]
/** Keys that nobody knows, and all that mean something somewhere. */
const keys =
  'zz constructor action rules selector targetRef targetRefs from to when source operation principals notPrincipals namespaces ipBlocks notIpBlocks serviceAccounts ports notPorts methods key values notValues matchLabels mtls portLevelMtls mode'.split(
    ' ',
  )

/** Every object that has one piece of garbage more than `value`, in a place that it left free. */
function* spoilt(value: unknown): Generator<unknown> {
  if (Array.isArray(value)) {
    for (const junk of garbage) yield [...(value as unknown[]), junk]
    for (const [i, item] of value.entries()) for (const bad of spoilt(item)) yield value.with(i, bad)
  } else if (isRecord(value)) {
    for (const key of keys)
      if (!Object.hasOwn(value, key)) for (const junk of garbage) yield { ...value, [key]: junk }
    for (const [key, item] of Object.entries(value))
      for (const bad of spoilt(item)) yield { ...value, [key]: bad }
  }
}

const id = (namespace: string) => spiffeId({ trustDomain: 'cluster.local', namespace, serviceAccount: 'a' })
const connections: readonly Connection[] = [undefined, id('shop'), id('bank')].flatMap((peer) =>
  ['10.0.0.1', '10.1.0.1'].flatMap((source) =>
    [80, 81].map((port) => ({ peer, source: ip(source), destination: { address: ip('10.244.1.5'), port } })),
  ),
)

type Kind = 'policies' | 'peers'
const metadata = { name: 'p', namespace: 'shop' }
const received = (name: string, row: security.Authorization | undefined) =>
  decodeAuthorization(name, row ? security.Authorization.encode(row).finish() : new Uint8Array([255]))
const other = received(
  'shop/other',
  compilePolicy(
    {
      metadata: { ...metadata, name: 'other' },
      spec: { rules: [{ to: [{ operation: { ports: ['80'] } }] }] },
    },
    settings,
  ).authorization,
)

/** One mesh for all of them: its PeerAuthentication changes. A mesh for each takes its time where much else is done. */
const peers = new Table<Custom>('peers')
const mesh = meshFrom({ ...inputsOf({ pods: [pod()] }), peerAuthentications: peers.collection }, settings)

/** What the pod `shop/order` has to obey because of one object. */
function concerning(kind: Kind, spec: unknown): readonly Authorization[] {
  const subject = { metadata, spec }
  if (kind === 'policies') {
    const { authorization, selector } = compilePolicy(subject, settings)
    return authorization && isSubset(selector ?? {}, { app: 'order' })
      ? [received('shop/p', authorization)]
      : []
  }
  const key = keyOf(subject)
  peers.apply([{ key, old: peers.get(key), row: subject }])
  const named = mesh.workloads.list()[0]?.authorizationPolicies ?? []
  return named.map((name) => received(name, mesh.policies.authorizations.get(name)))
}

/** Which of `connections` it lets in, beside another ALLOW policy or alone. */
function allowed(kind: Kind, spec: unknown, alone: boolean): readonly boolean[] {
  const applicable = applicableOf([...concerning(kind, spec), ...(alone ? [] : [other])])
  return connections.map((connection) => decide(applicable, connection).verdict === 'allow')
}

const from = [{ source: { namespaces: ['bank'], notIpBlocks: ['10.1.0.0/16'] } }]
const to = [{ operation: { ports: ['80'] } }]
const when = [{ key: 'source.ip', notValues: ['10.1.0.1'] }]
const selector = { matchLabels: { app: 'order' } }
const bases: readonly [Kind, unknown][] = [
  ['policies', { action: 'ALLOW', rules: [{ from, to }, { when }] }],
  ['policies', { action: 'DENY', rules: [{ from, to }, { to }] }],
  ['policies', { selector, action: 'DENY', rules: [{ from }, { to, when }] }],
  ['policies', { selector, rules: [{ from: [{ source: { principals: ['*'] } }] }] }],
  ['policies', { action: 'DENY', rules: [{ from: [{ source: { notPrincipals: ['*'] } }] }] }],
  ['policies', { action: 'ALLOW' }],
  // About another pod: it must not become an ALLOW for this one.
  ['policies', { selector: { matchLabels: { app: 'else' } }, rules: [{}, { to }] }],
  ['peers', { mtls: { mode: 'STRICT' } }],
  ['peers', { selector, mtls: { mode: 'PERMISSIVE' }, portLevelMtls: { 80: { mode: 'STRICT' } } }],
  ['peers', { selector, mtls: { mode: 'STRICT' }, portLevelMtls: { 81: { mode: 'DISABLE' } } }],
]

for (const [kind, spec] of bases)
  t.test(`garbage anywhere never lets in more: ${JSON.stringify(spec).slice(0, 100)}`, async (t) => {
    let cases = 0
    // One object of PeerAuthentication has nothing to do with ALLOW policies.
    for (const alone of kind === 'peers' ? [true] : [true, false]) {
      const before = allowed(kind, spec, alone)
      for (const bad of spoilt(spec)) {
        cases++
        if (!alone && cases % 3 > 0) continue
        const after = allowed(kind, bad, alone)
        const widened = after.findIndex((yes, i) => yes && !before[i])
        if (widened >= 0) t.fail(`${JSON.stringify(bad)} lets in connection ${widened}`)
      }
    }
    t.ok(cases > 100, `${cases} cases`)
  })
