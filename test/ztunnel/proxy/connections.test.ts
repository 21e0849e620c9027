import t from 'tap'
import { ip } from '#base'
import { type Connection, parseAuthorization } from '#policy'
import { spiffeId } from '#identity'
import { security } from '#wire'
import { Connections } from '../../../ztunnel/proxy/index.ts'
import { follow } from '#base'
import { MeshState, parseWorkload } from '../../../ztunnel/state/index.ts'
import { eventually } from '../../fakes/mesh-world.ts'
import { policyResource, type PolicyDraft, workloadWire } from '../../fakes/mesh.ts'

const never = new AbortController().signal
const id = (serviceAccount: string) =>
  spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount })
const principal = (serviceAccount: string) => `cluster.local/ns/demo/sa/${serviceAccount}`

const policy = (draft: PolicyDraft) => {
  const [resource] = Object.values(policyResource(draft))
  if (!resource) throw new Error('none')
  const parsed = parseAuthorization(security.Authorization.decode(resource.bytes))
  if ('reject' in parsed) throw new Error(parsed.reject)
  return parsed
}

function setUp(pods: readonly string[]) {
  const state = new MeshState('n1')
  state.apply({
    workloads: pods.map((name, i) =>
      parseWorkload(workloadWire({ name, node: 'n1', addresses: [`10.0.0.${i + 1}`] })),
    ),
  })
  const connections = new Connections()
  state.onChange(() => connections.recheck(state))
  let port = 0
  let looks = 0
  const open = (pod: string, from: string, parent = never) => {
    const podName = { name: pod, namespace: 'demo', serviceAccount: pod }
    const local = state.localWorkload(podName)
    if (!local) throw new Error(`no ${pod}`)
    const destination = { address: ip('10.0.0.1'), port: 8080 }
    const peer = id(from)
    const judged: Connection = {
      source: ip('10.0.9.9'),
      get peer() {
        looks++
        return peer
      },
      destination,
    }
    const tracked = connections.open(
      {
        podUid: `uid-${pod}`,
        pod: podName,
        direction: 'inbound',
        src: { address: ip('10.0.9.9'), port: ++port },
        originalDst: null,
        actualDst: destination,
        protocol: 'HBONE',
        judged,
      },
      parent,
    )
    const { verdict } = connections.judge(`uid-${pod}`, state, local, judged)
    tracked.signal.addEventListener('abort', () => tracked[Symbol.dispose](), { once: true })
    return Object.assign(tracked, { verdict })
  }
  return { state, connections, open, looked: () => looks }
}

t.test(
  'a policy ends the connections that it denies, says which it was, and leaves the others',
  async (t) => {
    const { state, connections, open } = setUp(['a', 'b'])
    const bad = open('a', 'mallory')
    const good = open('a', 'alice')
    const other = open('b', 'mallory')
    t.same([bad.verdict, good.verdict, other.verdict], ['allow', 'allow', 'allow'])
    state.applyPolicies([policy({ name: 'no', action: 'deny', principals: [principal('mallory')] })], [])
    t.ok(bad.signal.aborted && other.signal.aborted)
    t.match(bad.signal.reason, { code: 'policy-denied', message: 'closed due to policy change' })
    t.same(bad.closedBy, ['demo/no'])
    t.notOk(good.signal.aborted)
    t.equal(good.closedBy, undefined)
    t.equal(connections.size, 1)
    t.equal(open('a', 'mallory').verdict, 'deny', 'a new one is denied')
  },
)

t.test('the record of now counts, not that of the beginning', async (t) => {
  const { state, open } = setUp(['a', 'b'])
  const selected = {
    ...policy({ name: 'only-bob', principals: [principal('bob')] }),
    scope: 'workload-selector' as const,
  }
  state.applyPolicies([selected], [])
  const [a, b] = [open('a', 'alice'), open('b', 'alice')]
  t.notOk(a.signal.aborted, 'a policy that the workload does not name does not concern it')
  const draft = { name: 'a', node: 'n1', addresses: ['10.0.0.1'], authorizationPolicies: ['demo/only-bob'] }
  state.apply({ workloads: [parseWorkload(workloadWire(draft))] })
  t.ok(a.signal.aborted, 'when it comes to name it the connection ends')
  t.same(a.closedBy, ['demo/only-bob'])
  t.notOk(b.signal.aborted)
})

t.test('a pod whose record is gone is judged by new policies all the same', async (t) => {
  const { state, open } = setUp(['a'])
  const [bad, good] = [open('a', 'mallory'), open('a', 'alice')]
  const [record] = state.workloads()
  if (!record) throw new Error('no record')
  state.apply({ removed: [record.uid] })
  t.notOk(bad.signal.aborted || good.signal.aborted, 'that alone ends nothing')
  state.applyPolicies([policy({ name: 'no', action: 'deny', principals: [principal('mallory')] })], [])
  t.ok(bad.signal.aborted)
  t.notOk(good.signal.aborted)
})

t.test('only the pods that other policies apply to are judged again', async (t) => {
  const { state, connections, open } = setUp(['a', 'b'])
  const watched = (name: string) => {
    const tracked = open(name, 'alice')
    return tracked
  }
  const a = watched('a')
  watched('b')
  let asked = 0
  const judged: Connection = {
    source: ip('10.0.9.9'),
    get peer() {
      asked++
      return id('alice')
    },
    destination: { address: ip('10.0.0.1'), port: 8080 },
  }
  const entry = {
    podUid: 'uid-b',
    pod: { name: 'b', namespace: 'demo', serviceAccount: 'b' },
    direction: 'inbound',
    src: { address: ip('10.0.9.9'), port: 1 },
    originalDst: null,
    actualDst: judged.destination,
    protocol: 'HBONE',
    judged,
  } as const
  connections.open(entry, never)
  const selected = {
    ...policy({ name: 'x', action: 'deny', everything: true }),
    scope: 'workload-selector' as const,
  }
  state.applyPolicies([selected], [])
  state.apply({
    workloads: [parseWorkload(workloadWire({ name: 'a', node: 'n1', authorizationPolicies: ['demo/x'] }))],
  })
  t.ok(a.signal.aborted)
  t.equal(asked, 0, 'nobody asked about the connection of the other pod')
})

t.test('of thousands some are ended in each turn of the loop, and in the end all', async (t) => {
  const { state, connections, open, looked } = setUp(['a'])
  const mallory = Array.from({ length: 1000 }, () => open('a', 'mallory'))
  const alice = Array.from({ length: 9000 }, () => open('a', 'alice'))
  t.equal(connections.size, 10_000)
  const perTurn: number[] = []
  // A turn ends when 50 have been closed, or after 64 at the earliest that have been judged.
  const mostTurns = 1_000 / 50 + 10_000 / 64 + 1
  const closed = () => mallory.filter(({ signal }) => signal.aborted).length
  state.applyPolicies([policy({ name: 'no', action: 'deny', principals: [principal('mallory')] })], [])
  perTurn.push(closed())
  while (closed() < 1000 && perTurn.length < 1_000) {
    await new Promise((done) => setImmediate(done))
    perTurn.push(closed() - perTurn.reduce((a, b) => a + b, 0))
  }
  t.equal(closed(), 1000)
  t.ok(
    perTurn.every((n) => n <= 50),
    `at most 50 in a turn: ${Math.max(...perTurn)}`,
  )
  t.ok(perTurn.length <= mostTurns, `in ${perTurn.length} turns`)
  await eventually(() => connections.size === 9000, 'the closed ones are gone')
  t.notOk(alice.some(({ signal }) => signal.aborted))
  let before = -1
  while (before !== looked()) {
    before = looked()
    await new Promise((done) => setImmediate(done))
  }
  t.ok(before >= 10_000, `all were judged, ${before} looks`)
  connections.recheck(state)
  await new Promise((done) => setImmediate(done))
  t.equal(looked(), before, 'and what has not changed is not looked at')
})

t.test(
  'a connection that opens while others are being judged is judged by the policies of now',
  async (t) => {
    const { state, connections, open } = setUp(['a'])
    const many = Array.from({ length: 2000 }, () => open('a', 'mallory'))
    state.applyPolicies([policy({ name: 'no', action: 'deny', principals: [principal('mallory')] })], [])
    t.equal(open('a', 'mallory').verdict, 'deny')
    t.ok(
      many.some(({ signal }) => !signal.aborted),
      'some are still to come',
    )
    state.applyPolicies([], ['demo/no' as never])
    const left = many.filter(({ signal }) => !signal.aborted).length
    t.ok(left > 0)
    t.equal(open('a', 'mallory').verdict, 'allow')
    for (let i = 0; i < 100; i++) await new Promise((done) => setImmediate(done))
    t.equal(many.filter(({ signal }) => !signal.aborted).length, left, 'what is allowed again stays')
    t.ok(connections.size > left)
  },
)

t.test('a pod that is gone takes its connections with it, by one listener on its signal', async (t) => {
  const { connections, open } = setUp(['a'])
  const gone = new AbortController()
  let listeners = 0
  const add = gone.signal.addEventListener.bind(gone.signal)
  gone.signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++
    add(...args)
  }
  const many = Array.from({ length: 100 }, () => open('a', 'alice', gone.signal))
  many[0]?.[Symbol.dispose]()
  gone.abort(new Error('gone'))
  t.equal(listeners, 1)
  t.equal(many.filter(({ signal }) => signal.aborted).length, 99, 'but those that had ended')
  t.match(many[1]?.signal.reason, { message: 'gone' })
  t.equal(connections.size, 0)
  let ran = 0
  using _late = follow(gone.signal, () => ran++)
  t.equal(ran, 1, 'who comes later is told at once')
})
