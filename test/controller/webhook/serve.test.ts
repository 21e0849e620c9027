import { request } from 'node:https'
import { connect } from 'node:net'
import type { TLSSocket } from 'node:tls'
import t from 'tap'
import { kinds } from '#kube'
import { controllerFor, namespace } from '../mesh-kit.ts'
import { Room } from '../../../controller/webhook/room.ts'
import { FakeKube } from '../../fakes/fake-kube.ts'
import { until } from '../../fakes/until.ts'

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

type Sent = Readonly<{
  ca: string
  from?: string
  path?: string
  method?: string
  body?: string | Buffer
  type?: string
}>
const post = (
  port: number,
  { ca, from = '127.0.0.1', path = '/validate', method = 'POST', body = '', type = 'application/json' }: Sent,
) =>
  new Promise<{ status: number; text: string; serial: string }>((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        localAddress: from,
        port,
        path,
        method,
        ca,
        servername: 'istiod.istio-system.svc',
        agent: false,
        headers: { 'content-type': type },
      },
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
      webhooks = ((await client.find(ref, AbortSignal.timeout(20_000))) as Stored).webhooks ?? []
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

const mib = 1 << 20
const nonsense: readonly (readonly [string, Omit<Sent, 'ca'>, number])[] = [
  ['of another content type', { type: 'text/plain', body: review({}) }, 415],
  ['without a content type', { type: '', body: review({}) }, 415],
  ['of JSON with a charset', { type: 'application/json; charset=utf-8', body: review({}) }, 200],
  ['of 3 MiB of letters', { body: 'x'.repeat(3 * mib) }, 400],
  ['of 3 MiB of zeros', { body: Buffer.alloc(3 * mib) }, 400],
  ['that is no UTF-8', { body: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]) }, 400],
  ['of 1.5 million open brackets', { body: '['.repeat(1_500_000) }, 400],
  ['nested 500,000 deep', { body: review(0).replace('"spec":0', `"spec":${deep(500_000)}`) }, 400],
  ['that no API server can keep', { body: 'x'.repeat(3.2 * mib) }, 413],
  ['nested deep where it is compared', { body: deepUpdate(200_000) }, 400],
  ['nested as deep as may be', { body: review(0).replace('"spec":0', `"spec":${deep(500)}`) }, 200],
  ['nested as deep where it is compared', { body: deepUpdate(500) }, 200],
  ['of a spec of 3 MiB', { body: review({ mtls: { mode: 'x'.repeat(3 * mib) } }) }, 200],
  ['of a spec with 100,000 unknown fields', { body: review(manyFields(100_000)) }, 200],
  [
    'with the names of prototypes',
    { body: review(JSON.parse('{"__proto__":{"mtls":5},"constructor":5}')) },
    200,
  ],
]
function deep(depth: number): string {
  return `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
}
function deepUpdate(depth: number): string {
  const nested = deep(depth)
  return review(0)
    .replace('"CREATE"', '"UPDATE"')
    .replace('"object":', `"oldObject":{"spec":${nested}},"object":`)
    .replace('"spec":0', `"spec":${nested}`)
}
function manyFields(count: number): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`field${n}`, n]))
}

t.test('nonsense is answered, and the next review is judged', async (t) => {
  await using kube = await FakeKube.start(namespace('istio-system'), configuration)
  await using running = await controllerFor(kube)
  const port = running.app.ports.webhook
  const judged = async (body: string) =>
    JSON.parse((await post(port, { ca: running.root, body })).text).response
  const judgedKinds = ['PeerAuthentication', 'VirtualService', 'DestinationRule', 'Telemetry']
  for (const [nth, kind] of judgedKinds.entries())
    for (const [title, sent, status] of nonsense) {
      const body = typeof sent.body === 'string' ? sent.body.replace('PeerAuthentication', kind) : sent.body
      const from = `127.0.1.${nth}` // each has its own share of our time
      const answer = await post(port, {
        ...sent,
        from,
        ca: running.root,
        ...(body === undefined ? {} : { body }),
      })
      t.equal(answer.status, status, `${kind} ${title}`)
      t.ok(answer.text.length < 50_000, 'in few words')
    }
  t.match(await judged(review({ mtls: { mode: 'STRICT' } })), { allowed: true })
  t.match(await judged(review({ mtls: { mode: 'ON' } })), { allowed: false })
})

t.test('every kind that users write is judged; what has no effect here is a warning', async (t) => {
  await using kube = await FakeKube.start(namespace('istio-system'), configuration)
  await using running = await controllerFor(kube)
  const judged = async (group: string, kind: string, spec: unknown) => {
    const body = review(spec).replaceAll('security.istio.io', group).replace('PeerAuthentication', kind)
    return JSON.parse((await post(running.app.ports.webhook, { ca: running.root, body })).text).response
  }
  t.match(await judged('networking.istio.io', 'VirtualService', { hosts: ['a'], http: [{}] }), {
    allowed: false,
    status: { details: { causes: [{ field: 'spec.http[0]' }] } },
  })
  t.match(await judged('networking.istio.io', 'EnvoyFilter', { configPatches: [] }), {
    allowed: true,
    warnings: [/no Envoy/],
  })
  t.match(await judged('networking.istio.io', 'DestinationRule', { trafficPolicy: {} }), { allowed: false })
  t.match(await judged('extensions.istio.io', 'WasmPlugin', { url: 5 }), { allowed: false })
  t.match(await judged('telemetry.istio.io', 'Telemetry', { tracing: 5 }), { allowed: false })
  t.match(await judged('networking.istio.io', 'ServiceEntry', {}), { allowed: false })
  t.match(await judged('security.istio.io', 'AuthorizationPolicy', { action: 'MAYBE' }), { allowed: false })
  t.same(await judged('networking.istio.io', 'SomethingNew', { any: 'thing' }), { uid: 'u-1', allowed: true })
})

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
        headers: { 'content-type': 'application/json' },
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

t.test('a stranger who holds on to all that he can get does not keep the API server out', async (t) => {
  await using kube = await FakeKube.start(namespace('istio-system'), configuration)
  await using running = await controllerFor(kube)
  const port = running.app.ports.webhook
  const sockets = Array.from({ length: 150 }, () =>
    connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2' }).on('error', () => undefined),
  )
  let refused = 0
  for (const socket of sockets) socket.on('close', () => refused++).resume()
  await until(() => refused >= 150 - 64, 'what is too much is refused')
  t.equal(refused, 150 - 64)
  const answer = await post(port, { ca: running.root, from: '127.0.0.3', body: review({}) })
  t.match(JSON.parse(answer.text).response, { allowed: true })
  for (const socket of sockets) socket.destroy()
})

t.test('a stranger who sends as much as he can waits for himself, and the API server does not', async (t) => {
  await using kube = await FakeKube.start(namespace('istio-system'), configuration)
  await using running = await controllerFor(kube)
  const { port } = { port: running.app.ports.webhook }
  const body = review({ mtls: { mode: 'x'.repeat(3 * mib) } })
  const flood = Array.from({ length: 24 }, () =>
    post(port, { ca: running.root, from: '127.0.0.2', body }).catch(() => ({ status: 503, text: '' })),
  )
  const oks = Array.from({ length: 30 }, async () => {
    const answer = await post(port, { ca: running.root, from: '127.0.0.3', body: review({}) })
    return answer.status
  })
  t.strictSame(new Set(await Promise.all(oks)), new Set([200]))
  const had = (await Promise.all(flood)).filter(({ status }) => status === 200).length
  t.ok(had > 0, 'he is no worse off than he has to be')
  t.ok(had < 24, `${had} of 24 reviews of 3 MiB at once`)
})

t.test('room is shared, and given back', async (t) => {
  const room = new Room()
  const mib = 1 << 20
  t.ok(room.take('a', 32 * mib))
  t.notOk(room.take('a', 1), 'one address has its share')
  t.ok(room.take('b', 32 * mib))
  t.notOk(room.take('c', 1), 'nor have all together more than there is')
  room.giveBack('a', 32 * mib)
  t.ok(room.take('c', 32 * mib))
  for (let n = 0; n < 64; n++) t.ok(room.enter('a'))
  t.notOk(room.enter('a'))
  t.ok(room.enter('b'))
  room.leave('a')
  t.ok(room.enter('a'))
})
