import t from 'tap'
import { ip } from '#base'
import { spiffeId } from '#identity'
import { addressTypeUrl, authorizationTypeUrl } from '#wire'
import { Connections } from '../../../ztunnel/proxy/index.ts'
import { MeshState } from '../../../ztunnel/state/index.ts'
import { applier } from '../../../ztunnel/worker/apply.ts'
import type { Batch } from '../../../ztunnel/worker/index.ts'
import { policyResource, workloadResource } from '../../fakes/mesh.ts'

type Resources = Readonly<Record<string, { bytes: Uint8Array }>>
const batch = (typeUrl: string, resources: Resources, removed: readonly string[] = []): Batch => ({
  typeUrl,
  upserts: Object.entries(resources).map(([name, { bytes }]) => ({ name, version: '1', bytes })),
  removed,
})
const addresses = (...args: [Resources, string[]?]) => batch(addressTypeUrl, ...args)
const policies = (...args: [Resources, string[]?]) => batch(authorizationTypeUrl, ...args)
const podName = { name: 'a', namespace: 'demo', serviceAccount: 'a' }

function setUp() {
  const state = new MeshState('n1')
  const connections = new Connections()
  let rechecks = 0
  const apply = applier(state, () => {
    rechecks++
    connections.recheck(state)
  })
  const record = (authorizationPolicies: string[]) =>
    addresses(workloadResource({ name: 'a', node: 'n1', authorizationPolicies }))
  apply([record([])])
  const open = () => {
    const destination = { address: ip('10.0.0.1'), port: 8080 }
    const peer = spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount: 'alice' })
    const judged = { source: ip('10.0.9.9'), peer, destination }
    const entry = {
      podUid: 'a',
      pod: podName,
      direction: 'inbound',
      src: { address: ip('10.0.9.9'), port: 1 },
      originalDst: null,
      actualDst: destination,
      protocol: 'HBONE',
      judged,
    } as const
    const tracked = connections.open(entry, new AbortController().signal)
    const local = state.localWorkload(podName)
    if (!local) throw new Error('no record')
    return { tracked, verdict: connections.judge('a', state, local, judged).verdict }
  }
  return { apply, record, open, rechecks: () => rechecks }
}

const allowed = policyResource({ name: 'p', principals: ['cluster.local/ns/demo/sa/alice'] })

t.test(
  'a record and the policy that it names, together in either order: nothing ends in between',
  async (t) => {
    for (const order of ['record first', 'policy first']) {
      const { apply, record, open, rechecks } = setUp()
      const { tracked, verdict } = open()
      t.equal(verdict, 'allow')
      const before = rechecks()
      const both = [record(['demo/p']), policies(allowed)]
      apply(order === 'record first' ? both : both.toReversed())
      t.notOk(tracked.signal.aborted, order)
      t.equal(rechecks(), before + 1)
      apply([policies({}, ['demo/p']), record([])])
      t.notOk(tracked.signal.aborted, 'and when both go')
    }
  },
)

t.test('a policy that is named and does not come denies', async (t) => {
  const { apply, record, open } = setUp()
  const { tracked } = open()
  apply([record(['demo/p'])])
  t.ok(tracked.signal.aborted)
  t.equal(open().verdict, 'deny')
})
