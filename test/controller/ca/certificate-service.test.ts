import { X509Certificate } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import t from 'tap'
import { checkPeer, createCsr, generateKeyPair, spiffeId } from '#identity'
import { startLogging } from '#telemetry'
import { serveCa } from './ca-kit.ts'
import { hostileCsrs } from './hostile-csrs.ts'

const orderId = 'spiffe://cluster.local/ns/shop/sa/order'
const id = spiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'order' })
const csr = () => createCsr({ id, key: generateKeyPair() })
const pod = { uid: 'o1', namespace: 'shop', serviceAccount: 'order', node: 'n1', terminal: false }

t.test(`of ${hostileCsrs.length} hostile requests each gets the caller’s own id, or nothing`, async (t) => {
  t.ok(hostileCsrs.length >= 100)
  await using service = await serveCa()
  for (const [title, text, fate] of hostileCsrs) {
    const { chain, error } = await service.ask({ csr: text })
    if (fate === 'refused') {
      t.equal(error?.code, status.INVALID_ARGUMENT, title)
      t.equal(chain.length, 0)
      continue
    }
    t.equal(error, undefined, `${title}: ${error?.details}`)
    const leaf = new X509Certificate(chain[0] ?? '')
    t.match(checkPeer(leaf.raw), { kind: 'peer', id: orderId }, title)
    t.equal(leaf.subjectAltName, `URI:${orderId}`, title)
    t.equal(leaf.subject ?? '', '', title)
    t.notOk(leaf.ca, title)
    t.strictSame(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'], title)
    t.ok(leaf.raw.length < 1_000, `${title}: nothing of the request is in it`)
  }
  const { error } = await service.ask({ csr: csr() })
  t.equal(error, undefined, 'and it serves on')
})

t.test('what a refused caller hears is always the same; the log says why, and what to look at', async (t) => {
  const lines: string[] = []
  const log = startLogging({ write: (line) => void lines.push(line) }).root('ca')
  await using service = await serveCa({ log, pods: () => [{ ...pod, node: 'n2' }] })
  const wanted = (text: unknown) => ({ csr: csr(), metadata: { ImpersonatedIdentity: text } })
  const asked: readonly (readonly [string, unknown, string, RegExp])[] = [
    ['of a pod elsewhere', orderId, 'ztunnel', /identity-not-on-node.*n1/],
    ['of nobody', 'spiffe://cluster.local/ns/shop/sa/nobody', 'ztunnel', /identity-not-on-node/],
    ['of another domain', 'spiffe://evil.org/ns/shop/sa/order', 'ztunnel', /foreign-trust-domain/],
    ['that is no id', 'order', 'ztunnel', /not-a-spiffe-id/],
    ['that is no text', 5, 'ztunnel', /not-a-spiffe-id/],
    ['that is a list', [orderId], 'ztunnel', /not-a-spiffe-id/],
    ['of 1 MB', `spiffe://cluster.local/ns/${'x'.repeat(1 << 20)}/sa/b`, 'ztunnel', /not-a-spiffe-id/],
    [
      'for a workload',
      'spiffe://cluster.local/ns/shop/sa/payment',
      'order',
      /account-not-trusted.*CA_TRUSTED/,
    ],
  ]
  const answers = new Set<string>()
  for (const [title, identity, token, line] of asked) {
    lines.length = 0
    const { error, chain } = await service.ask(wanted(identity), token)
    t.equal(chain.length, 0)
    answers.add(`${error?.code} ${error?.details}`)
    t.equal(lines.length, 1, title)
    t.match(lines[0], line, title)
    t.ok((lines[0]?.length ?? 0) < 1_000, 'what it asked for does not fill the log')
  }
  t.strictSame([...answers], [`${status.UNAUTHENTICATED} request impersonation authentication failure`])
  lines.length = 0
  const { error } = await service.ask({ csr: csr() }, 'made-up-token')
  t.match(error, { code: status.UNAUTHENTICATED, details: 'request authentication failure' })
  t.match(lines, [/token not accepted/])
  t.notMatch(lines.join(), /made-up-token/)
})

t.test('an identity is given while its pod is on the node, and not a moment longer', async (t) => {
  let pods = [pod]
  await using service = await serveCa({ pods: () => pods })
  const ask = () => service.ask({ csr: csr(), metadata: { ImpersonatedIdentity: orderId } }, 'ztunnel')
  t.match(checkPeer(new X509Certificate((await ask()).chain[0] ?? '').raw), { id: orderId })
  pods = []
  t.equal((await ask()).error?.code, status.UNAUTHENTICATED)
  t.match(await service.metrics(), /lateen_impersonation_refused_total\{reason="identity-not-on-node"\} 1/)
})

t.test('who asks too often is told to come later, before his request is read', async (t) => {
  let left = 3
  await using service = await serveCa({ mayAsk: () => left-- > 0 })
  for (let n = 0; n < 3; n++) t.equal((await service.ask({ csr: csr() })).error, undefined)
  t.equal((await service.ask({ csr: csr() })).error?.code, status.RESOURCE_EXHAUSTED)
})
