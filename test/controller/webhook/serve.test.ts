import { request } from 'node:https'
import type { TLSSocket } from 'node:tls'
import t from 'tap'
import { kinds } from '#kube'
import { controllerFor, namespace } from '../mesh-kit.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'

const configuration = {
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'ValidatingWebhookConfiguration',
  metadata: { name: 'istio-validator-istio-system' },
  webhooks: [
    {
      name: 'rev.validation.istio.io',
      clientConfig: { service: { name: 'istiod', namespace: 'istio-system', path: '/validate' } },
      failurePolicy: 'Ignore',
    },
    { name: 'somebody.else', clientConfig: { url: 'https://x', caBundle: 'eA==' } },
  ],
}
type Stored = { webhooks?: { clientConfig: { caBundle?: string } }[] }
const review = (spec: unknown) =>
  JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: 'u-1',
      kind: { group: 'security.istio.io', version: 'v1', kind: 'PeerAuthentication' },
      resource: { group: 'security.istio.io', version: 'v1', resource: 'peerauthentications' },
      operation: 'CREATE',
      namespace: 'shop',
      object: { metadata: { name: 'p', namespace: 'shop' }, spec },
    },
  })

type Sent = Readonly<{ ca: string; path?: string; method?: string; body?: string }>
const post = (port: number, { ca, path = '/validate', method = 'POST', body = '' }: Sent) =>
  new Promise<{ status: number; text: string; serial: string }>((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port, path, method, ca, servername: 'istiod.istio-system.svc', agent: false },
      (response) => {
        const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate()
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => (text += chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text, serial: serialNumber }))
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })

t.test(
  'the API server is given the root that our certificate can be checked with, and gets its answers',
  async (t) => {
    await using kube = await FakeKube.start(namespace('istio-system'), namespace('shop'), configuration)
    await using running = await controllerFor(kube)
    const client = kube.client()
    const ref = { kind: kinds.ValidatingWebhookConfiguration, name: 'istio-validator-istio-system' }
    let webhooks: NonNullable<Stored['webhooks']> = []
    while (webhooks[0]?.clientConfig.caBundle === undefined)
      webhooks = ((await client.find(ref, AbortSignal.timeout(10_000))) as Stored).webhooks ?? []
    t.equal(webhooks[1]?.clientConfig.caBundle, 'eA==', 'those of others are left alone')
    const ca = Buffer.from(webhooks[0]?.clientConfig.caBundle ?? '', 'base64').toString()
    const port = running.app.ports.webhook
    const good = await post(port, { ca, body: review({ mtls: { mode: 'STRICT' } }) })
    t.same(JSON.parse(good.text).response, { uid: 'u-1', allowed: true })
    const bad = await post(port, { ca, body: review({ mtls: { mode: 'ON' } }) })
    t.match(JSON.parse(bad.text).response, { allowed: false, status: { message: /shop\/p: spec\.mtls: / } })
    t.equal((await post(port, { ca, method: 'GET' })).status, 405)
    t.equal((await post(port, { ca, path: '/inject' })).status, 404)
    for (const body of ['', '{', '5', '{"request":{}}'])
      t.equal((await post(port, { ca, body })).status, 400, body)
    const metrics = await (await fetch(`http://127.0.0.1:${running.app.ports.monitoring}/metrics`)).text()
    t.match(
      metrics,
      /galley_validation_passed(_total)?\{group="security.istio.io",version="v1",resource="peerauthentications"\} 1/,
    )
    t.match(metrics, /galley_validation_failed.*reason="invalid_resource".* 1/)
    t.match(metrics, /galley_validation_http_error.*status="400".* 4/)
  },
)

t.test('a body without end is not read to its end', async (t) => {
  await using kube = await FakeKube.start(namespace('istio-system'), configuration)
  await using running = await controllerFor(kube)
  const outcome = await new Promise<string>((resolve) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port: running.app.ports.webhook,
        path: '/validate',
        method: 'POST',
        rejectUnauthorized: false,
        agent: false,
      },
      (response) => resolve(String(response.statusCode)),
    )
    sent.on('error', (error) => resolve(error.message))
    const chunk = Buffer.alloc(1 << 20)
    const more = () => {
      while (!sent.destroyed && sent.write(chunk));
    }
    sent.on('drain', more)
    more()
  })
  t.match(outcome, /^413$|EPIPE|ECONNRESET|hang up/)
})
