import { EventEmitter, once } from 'node:events'
import t from 'tap'
import { Allowance } from '../../../controller/xds/allowance.ts'
import { readPaced } from '../../../controller/xds/read-paced.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { acceptTokens, adsStream, controllerFor, namespace, ztunnelNode, ztunnelPod } from '../mesh-kit.ts'

t.test('beyond what it may send, a stream is paused until it may send again', async (t) => {
  const source = new EventEmitter()
  const said: string[] = []
  const stream = {
    on: (_: 'data', listener: (item: number) => void) => source.on('data', listener),
    pause: () => said.push('pause'),
    resume: () => {
      said.push('resume')
      source.emit('resumed')
    },
  }
  let ms = 0
  const pace = new Allowance({ burst: 3, perSecond: 100 }, () => ms)
  readPaced<number>(stream, (item) => said.push(String(item)), pace)
  for (const item of [1, 2, 3, 4]) source.emit('data', item)
  t.strictSame(said, ['1', '2', '3', '4', 'pause'], 'what has come is taken')
  await once(source, 'resumed')
  ms += 10
  source.emit('data', 5)
  t.strictSame(said.slice(5), ['resume', '5'])
})

const asked = 3_000

t.test(
  'a client that asks faster than anybody needs loses nothing, and keeps nobody from asking',
  { timeout: 90_000 },
  async (t) => {
    await using kube = await FakeKube.start(namespace('istio-system'), ztunnelPod)
    acceptTokens(kube)
    await using running = await controllerFor(kube)
    using stream = adsStream(running)
    stream.send({ node: ztunnelNode })
    await stream.next()
    const stale = async () =>
      Number(/^pilot_xds_expired_nonce\{type="wds"\} (\d+)$/m.exec(await running.metrics())?.[1] ?? 0)
    for (let i = 0; i < asked; i++) stream.send({ responseNonce: 'none of yours' })
    const deadlineMs = performance.now() + 60_000
    while ((await stale()) < asked) if (performance.now() > deadlineMs) throw new Error('not all were read')
    t.notOk(stream.failed())
    using another = adsStream(running)
    another.send({ node: ztunnelNode })
    await another.next()
  },
)
