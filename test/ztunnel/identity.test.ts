import t from 'tap'
import { spiffeId, type SpiffeId } from '#identity'
import { firstCertificates, onlyLocal } from '../../ztunnel/identity.ts'
import { addressHandler, MeshState } from '../../ztunnel/state/index.ts'
import { workloadResource } from '../fakes/mesh.ts'
import { until } from '../fakes/until.ts'

const never = new AbortController().signal
function meshOf(...resources: ReturnType<typeof workloadResource>[]): MeshState {
  const state = new MeshState('n1')
  for (const resource of resources)
    addressHandler(state).apply(
      Object.entries(resource).map(([name, { bytes }]) => ({ name, version: '1', bytes })),
      [],
    )
  return state
}
const local = (name: string) => workloadResource({ name, node: 'n1', addresses: [] })

t.test('who needs no certificate waits for none', async (t) => {
  const asked: SpiffeId[] = []
  const get = async (id: SpiffeId) => void asked.push(id)
  const plain = workloadResource({ name: 'plain', node: 'n1', addresses: [], tunnelProtocol: 0 })
  const state = meshOf(plain, workloadResource({ name: 'far', node: 'n2', addresses: [] }))
  await firstCertificates({ state, nodeName: 'n1', get, signal: never })
  t.same(asked, [])
})

t.test('one identity that gets none keeps nobody waiting', async (t) => {
  const asked: SpiffeId[] = []
  const get = async (id: SpiffeId) => {
    asked.push(id)
    if (id.endsWith('/bad')) throw new Error('not this one')
    if (id.endsWith('/slow')) await new Promise(() => undefined)
  }
  await firstCertificates({
    state: meshOf(...['slow', 'bad', 'good'].map(local)),
    nodeName: 'n1',
    get,
    signal: never,
  })
  t.equal(asked.length, 3, 'but it was asked for')
})

t.test('while nobody gets one there is no end, but by the signal', async (t) => {
  let tries = 0
  let works = false
  const get = async () => {
    tries++
    if (!works) throw new Error('no CA')
  }
  const options = { state: meshOf(local('a')), nodeName: 'n1', get, againMs: 1 }
  let done = false
  const waiting = firstCertificates({ ...options, signal: never }).then(() => (done = true))
  await until(() => tries > 3, 'tries')
  t.notOk(done)
  works = true
  await waiting
  works = false
  const stop = new AbortController()
  const other = firstCertificates({ ...options, signal: stop.signal })
  stop.abort()
  await other
})

t.test('a worker that is late does not bring back what was forgotten', async (t) => {
  const state = meshOf(local('a'), workloadResource({ name: 'far', node: 'n2', addresses: [] }))
  const asked: SpiffeId[] = []
  const get = onlyLocal(state, async (id) => void asked.push(id))
  const id = (name: string) =>
    spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount: name })
  await get(id('a'))
  await t.rejects(get(id('far')), { code: 'identity-unavailable' }, 'nor is it given for another node')
  const [record] = [...state.workloads()].filter(({ name }) => name === 'a')
  state.apply({ removed: record ? [record.uid] : [] })
  await t.rejects(get(id('a')), { code: 'identity-unavailable' })
  t.same(asked, [id('a')])
})
