import t from 'tap'
import { kinds } from '#kube'
import { authorizationTypeUrl } from '#wire'
import { FakeKube } from '../fakes/fake-kube.ts'
import { until } from '../fakes/until.ts'
import { acceptTokens, adsStream, controllerFor, ztunnelNode, ztunnelPod } from './mesh-kit.ts'
import { namespace, pod } from './objects.ts'

const policy = (namespaces: readonly string[]) => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'callers', namespace: 'shop' },
  spec: { rules: [{ from: [{ source: { namespaces } }] }] },
})

t.test('a policy that a ztunnel does not take says so in its status, until it changes', async (t) => {
  await using kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('shop'),
    ztunnelPod,
    pod('shop', 'web'),
    policy(['a']),
  )
  acceptTokens(kube)
  await using running = await controllerFor(kube)
  const accepted = () => {
    const { status } = kube.read(kinds.AuthorizationPolicy, 'callers', 'shop') ?? {}
    const { conditions = [] } = (status ?? {}) as { conditions?: Record<string, string>[] }
    const found = conditions.find(({ type }) => type === 'ZtunnelAccepted')
    return found ? `${found['status']} ${found['reason']} ${found['message']}` : ''
  }
  const says = (text: RegExp) => until(() => text.test(accepted()), `${text}, not: ${accepted()}`)
  await says(/^True Accepted/)

  const nack = async (stream: ReturnType<typeof adsStream>, message: string) => {
    const { nonce } = await stream.next(false)
    const errorDetail = { code: 3, message, details: [] }
    stream.send({ typeUrl: authorizationTypeUrl, responseNonce: nonce, errorDetail })
  }
  using workload = adsStream(running, 'shop/web/web/uid-of-web')
  workload.send({ typeUrl: authorizationTypeUrl })
  await nack(workload, 'shop/callers: says who')
  using ztunnel = adsStream(running)
  ztunnel.send({ node: ztunnelNode, typeUrl: authorizationTypeUrl })
  await nack(ztunnel, 'shop/callers: rule 0: no such thing')
  await says(/^False Rejected a ztunnel rejects it: shop\/callers: rule 0: no such thing$/)
  t.match(
    await running.metrics(),
    /pilot_total_xds_rejects\{type="wads"\} 2/,
    'a workload’s word is counted, and no more',
  )

  kube.put(policy(['b']))
  await ztunnel.next()
  await says(/^True Accepted/)
  kube.put(policy(['c']))
  await nack(ztunnel, 'shop/callers: again not')
  await says(/again not$/)
  ztunnel[Symbol.dispose]()
  await says(/^True Accepted/)
})
