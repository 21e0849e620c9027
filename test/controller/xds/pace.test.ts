import t from 'tap'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { acceptTokens, adsStream, controllerFor, namespace, ztunnelNode, ztunnelPod } from '../mesh-kit.ts'

/** The first 2,000 are read as they come, then 500 per second. */
const asked = 3_000

t.test(
  'a client that asks faster than anybody needs is read more slowly, and loses nothing',
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
    const startedMs = performance.now()
    for (let i = 0; i < asked; i++) stream.send({ responseNonce: 'none of yours' })
    const deadlineMs = startedMs + 60_000
    while ((await stale()) < asked) if (performance.now() > deadlineMs) throw new Error('not all were read')
    t.ok(performance.now() - startedMs > 1_500, 'a thousand of them took two seconds')
    t.notOk(stream.failed())
    using another = adsStream(running)
    another.send({ node: ztunnelNode })
    await another.next()
  },
)
