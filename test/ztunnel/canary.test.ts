import crypto, { type KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { describeError, startLogging } from '#telemetry'

// Keys and tokens must not come out anywhere. All keys that this process makes are caught as they are made.

const keys: KeyObject[] = []
const generate = crypto.generateKeyPairSync
Reflect.set(crypto, 'generateKeyPairSync', (...args: Parameters<typeof generate>) => {
  const pair: unknown = Reflect.apply(generate, crypto, args)
  if (typeof pair === 'object' && pair !== null && 'privateKey' in pair)
    keys.push(pair.privateKey as KeyObject) // asked for as an object everywhere
  return pair
})
syncBuiltinESMExports()

const { startZtunnel } = await import('../../ztunnel/app.ts')
const { parseConfig } = await import('../../ztunnel/config.ts')
const { openPart } = await import('../../ztunnel/admin/config-dump.ts')
const { HbonePool } = await import('#hbone')
const { Certificates, parseCaAnswer, createRoot } = await import('#identity')
const kit = await import('../controller/mesh-kit.ts')
const { FakeKube } = await import('../fakes/fake-kube.ts')
const { eventually } = await import('../fakes/mesh-world.ts')
const support = await import('../lib/hbone/support.ts')

const headerCanary = 'header-canary-9d2f6c1b7a'

/** A secret as it may be written: as text, base64, hex or raw bytes. */
function spellings(secret: Buffer): string[] {
  const base64 = secret.toString('base64').replace(/=+$/, '')
  // What surrounds it may shift it: the middle of each of the three alignments.
  const shifted = [1, 2].map((n) =>
    Buffer.concat([Buffer.alloc(n), secret])
      .toString('base64')
      .slice(4, -4),
  )
  return [
    ...[base64, secret.toString('base64url'), ...shifted].map((text) => text.slice(0, 40)),
    secret.toString('hex'),
    secret.toString('latin1'),
    secret.toString('utf8'),
  ].filter((text) => text.length > 8)
}
const secretOf = (key: KeyObject) => Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url')
const pemLines = (key: KeyObject) =>
  key
    .export({ type: 'pkcs8', format: 'pem' })
    .toString()
    .split('\n')
    .filter((line) => line.length === 64)
const needles = () => [
  ...keys.flatMap((key) => [...spellings(secretOf(key)), ...pemLines(key)]),
  ...spellings(Buffer.from(kit.ztunnelToken)),
  ...spellings(Buffer.from(headerCanary)),
  'PRIVATE KEY',
]
const found = (haystack: string) => {
  const flat = haystack.replaceAll('\\n', '').toLowerCase()
  return needles().filter((needle) => haystack.includes(needle) || flat.includes(needle.toLowerCase()))
}

t.test('the search finds what is there', async (t) => {
  const { privateKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const secret = secretOf(privateKey)
  for (const leak of [
    pem,
    JSON.stringify({ error: pem }),
    Buffer.from(pem).toString('latin1'),
    secret.toString('hex').toUpperCase(),
    `x=${secret.toString('latin1')}`,
    JSON.stringify(privateKey.export({ format: 'jwk' })),
    `authorization: Bearer ${kit.ztunnelToken}`,
    Buffer.from(`Bearer ${kit.ztunnelToken}`).toString('base64'),
  ])
    t.not(found(leak).length, 0)
  t.same(found('nothing of interest'), [])
})

t.test('no key or token is in a log, a dump, a metric or an error', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lateen-canary-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  await using kube = await FakeKube.start(
    kit.namespace('istio-system'),
    kit.namespace('shop'),
    kit.ztunnelPod,
    kit.pod('shop', 'order', { ip: '10.244.1.5' }),
    kit.service('shop', 'order'),
  )
  kit.acceptTokens(kube)
  await using running = await kit.controllerFor(kube)
  writeFileSync(join(directory, 'root.pem'), running.root)
  writeFileSync(join(directory, 'token'), kit.ztunnelToken)
  const address = `127.0.0.1:${running.app.ports.xds}`
  const config = parseConfig({
    NODE_NAME: 'node-1',
    POD_NAME: 'ztunnel-1',
    POD_NAMESPACE: 'istio-system',
    INSTANCE_IP: '10.244.1.2',
    XDS_ADDRESS: address,
    CA_ADDRESS: address,
    ALT_XDS_HOSTNAME: 'istiod.istio-system.svc',
    ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
    XDS_ROOT_CA: join(directory, 'root.pem'),
    CA_ROOT_CA: join(directory, 'root.pem'),
    AUTH_TOKEN: join(directory, 'token'),
    COMPLIANCE_POLICY: 'pqc',
    CA_HEADER_x: headerCanary,
    XDS_HEADER_x: headerCanary,
    INPOD_UDS: join(directory, 'none.sock'),
    ADMIN_PORT: '0',
    STATS_PORT: '0',
    READINESS_PORT: '0',
  })
  let said = ''
  const logs = (['json', 'plain'] as const).map((format) =>
    startLogging({ format, filter: 'trace', write: (line) => (said += line) }),
  )
  for (const control of logs) {
    await using ztunnel = await startZtunnel(config, { logs: control })
    const get = async (path: string) => (await fetch(`http://127.0.0.1:${ztunnel.ports.admin}${path}`)).text()
    await eventually(async () => (await get('/config_dump')).includes('"Available"'), 'a certificate')
    for (const path of ['/config_dump', '/logging', '/']) said += await get(path)
    said += await (await fetch(`http://127.0.0.1:${ztunnel.ports.stats}/metrics`)).text()
    said += inspect(ztunnel, { depth: 12, showHidden: true })
  }
  t.ok(keys.length >= 3, `${keys.length} keys were made: of the CA, of its server, of the workload`)
  t.match(said, /spiffe:\/\/cluster\.local\/ns\/shop\/sa\/order/, 'there is something to look at')
  t.same(found(said), [])
})

t.test('a token that stands in the environment itself is in no dump', async (t) => {
  const dumped = openPart(
    parseConfig({ NODE_NAME: 'n', AUTH_TOKEN: headerCanary, CA_HEADER_x: headerCanary }),
  )
  t.match(dumped, { token: '[redacted]', ca: { headers: ['x'] } })
  t.same(found(JSON.stringify(dumped)), [])
})

t.test('no key is in an error, whatever goes wrong with its certificate', async (t) => {
  const key = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const other = createRoot({ organization: 'x', validityMs: 1e6 })
  const errors: unknown[] = []
  const failing = async (attempt: () => unknown) => {
    try {
      await attempt()
      t.fail('did not fail')
    } catch (error) {
      errors.push(error)
    }
  }
  for (const answer of [
    [],
    ['x'],
    ['x', 'y'],
    [other.certPem, other.certPem],
    [other.certPem.slice(0, 200), other.certPem],
  ])
    await failing(() => parseCaAnswer(answer, key.privateKey, support.idOf('a')))
  using certificates = new Certificates({
    sign: async () => ['x', other.certPem],
    log: { warn: (message, fields) => errors.push({ message, fields }) },
  })
  await failing(() => certificates.get(support.idOf('a'), support.never))
  errors.push(certificates.dump(), certificates)
  const good = support.client
  const broken = [
    { ...good, privateKeyPem: good.privateKeyPem.replace(/[A-Z]/, 'a') },
    { ...good, privateKeyPem: good.privateKeyPem.slice(0, 100) },
    { ...good, chainPem: [other.certPem] },
    { ...good, rootsPem: [other.certPem] },
  ]
  const served = await support.serve(t, support.echo)
  const pool = new HbonePool({ signal: support.never })
  t.teardown(() => pool[Symbol.asyncDispose]())
  for (const certificate of broken) {
    const o = support.towards(served.address, good)
    await failing(() => pool.connect({ ...o, certificate: async () => certificate }))
    for (const connection of served.connections) errors.push((await connection.closed).error)
  }
  errors.push(pool)
  const said = errors
    .map(
      (error) =>
        `${describeError(error)} ${inspect(error, { depth: 12, showHidden: true })} ${JSON.stringify(error)}`,
    )
    .join('\n')
  t.match(said, /tls|key values mismatch|no start line|DECODER/i)
  t.same(found(said), [])
})
