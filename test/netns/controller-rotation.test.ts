import { X509Certificate } from 'node:crypto'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import t, { type Test } from 'tap'
import { messageOf } from '#base'
import { generateKeyPair, type Issuer, privateKeyPem, spiffeId } from '#identity'
import { type ConfigMap, kinds } from '#kube'
import { tcpSocket } from '#linux'
import { authorityFrom, signWorkload } from '../../controller/ca/index.ts'
import { secret } from '../controller/ca/ca-kit.ts'
import { cacerts, intermediateOf, rootOf } from '../controller/ca/chains.ts'
import { acceptTokens, controllerFor, namespace, pod } from '../controller/mesh-kit.ts'
import { FakeKube } from '../fakes/fake-kube.ts'
import { eventually } from '../fakes/mesh-world.ts'
import { connectIn, FakeNetwork, type PodNet, talk } from '../fakes/pod-net.ts'
import { echoIn, needsRoot } from '../fakes/two-nodes.ts'
import { NodeOfProcesses, type ZtunnelProcess } from '../fakes/ztunnel-process.ts'

// The controller and two ztunnels in processes of their own, while the CA below them is replaced under traffic.

t.setTimeout(180_000)

type Dump = { certificates: { identity: string; certChain: { pem: string }[]; rootCerts: unknown[] }[] }

/** Opens a connection every 50 ms, in turn each way, and sends a message through it. */
function traffic(t: Test, exchange: (n: number) => Promise<string>) {
  const failures: string[] = []
  const under = new Set<Promise<void>>()
  let count = 0
  const timer = setInterval(() => {
    const n = ++count
    const one = exchange(n)
      .then((text) => void (text.endsWith(`message ${n}`) || failures.push(`${n}: ${text || 'cut'}`)))
      .catch((error: unknown) => void failures.push(`${n}: ${messageOf(error)}`))
      .finally(() => under.delete(one))
    under.add(one)
  }, 50)
  t.teardown(() => clearInterval(timer))
  return {
    failures,
    count: () => count,
    /** A dozen of connections later. */
    later: async () => {
      const from = count
      await eventually(() => count > from + 12 && under.size < 20, 'traffic')
    },
    stop: async () => {
      clearInterval(timer)
      await Promise.all(under)
      return count
    },
  }
}

async function openWorld(t: Test, first: ReturnType<typeof secret>) {
  const directory = mkdtempSync(join(tmpdir(), 'lateen-rotation-'))
  const network = new FakeNetwork('dcarot')
  const pods = { client: network.pod('client', 1), server: network.pod('server', 2) }
  const onNode = (net: PodNet, node: string) => pod('demo', net.name, { node, ip: net.v4 })
  const ztunnelOn = (node: string) =>
    pod('istio-system', `ztunnel-${node}`, { node, account: 'ztunnel', hbone: false })
  const kube = await FakeKube.start(
    namespace('istio-system'),
    namespace('demo'),
    ztunnelOn('n1'),
    ztunnelOn('n2'),
    onNode(pods.client, 'n1'),
    onNode(pods.server, 'n2'),
    first,
  )
  acceptTokens(kube)
  const running = await controllerFor(kube)
  const published = () =>
    kube.read<ConfigMap>(kinds.ConfigMap, 'istio-ca-root-cert', 'istio-system')?.data?.['root-cert.pem'] ?? ''
  // What kubelet does with the ConfigMap that is mounted.
  const rootFile = join(directory, 'root.pem')
  let written = ''
  const mount = () => {
    if (written === published()) return
    written = published()
    writeFileSync(`${rootFile}.new`, written)
    renameSync(`${rootFile}.new`, rootFile)
  }
  mount()
  const kubelet = setInterval(mount, 50)
  const address = `127.0.0.1:${running.app.ports.xds}`
  const nodeOf = (name: string, net: PodNet) => {
    const token = join(directory, `token-${name}`)
    writeFileSync(token, `istio-system/ztunnel/ztunnel-${name}/uid-of-ztunnel-${name}`)
    const env = {
      XDS_ADDRESS: address,
      CA_ADDRESS: address,
      ALT_XDS_HOSTNAME: 'istiod.istio-system.svc',
      ALT_CA_HOSTNAME: 'istiod.istio-system.svc',
      XDS_ROOT_CA: rootFile,
      CA_ROOT_CA: rootFile,
      AUTH_TOKEN: token,
      POD_NAME: `ztunnel-${name}`,
      POD_NAMESPACE: 'istio-system',
      ADMIN_PORT: '0',
      STATS_PORT: '0',
      READINESS_PORT: '0',
      LOG_FORMAT: 'json',
      ZTUNNEL_WORKER_THREADS: '1',
    }
    const node = new NodeOfProcesses({ env, directory }, name)
    node.add(net)
    return node
  }
  const nodes = [nodeOf('n1', pods.client), nodeOf('n2', pods.server)] as const
  t.teardown(async () => {
    clearInterval(kubelet)
    for (const node of nodes) await node[Symbol.asyncDispose]()
    await running[Symbol.asyncDispose]()
    await kube[Symbol.asyncDispose]()
    network[Symbol.dispose]()
    rmSync(directory, { recursive: true, force: true })
  })
  const processes = await Promise.all(nodes.map((node) => node.start()))
  for (const net of [pods.client, pods.server]) net.capture()
  return { kube, pods, processes, published }
}

/** Who signed the certificate that a node shows for its pod, and in how many roots it believes. */
async function held(ztunnel: ZtunnelProcess) {
  const response = await fetch(`http://127.0.0.1:${ztunnel.port('admin')}/config_dump`, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(10_000),
  })
  const { certificates } = (await response.json()) as Dump
  const [own] = certificates
  const pems = own?.certChain.map(({ pem }) => Buffer.from(pem, 'base64').toString()) ?? []
  const [leaf] = pems
  return {
    issuer:
      leaf &&
      new X509Certificate(leaf).issuer
        .split('\n')
        .findLast((part) => part.startsWith('CN='))
        ?.slice(3),
    roots: own?.rootCerts.length ?? 0,
  }
}

/** How the server's node answers somebody with a certificate of this CA: an error, or nothing. */
async function knock({ client, server }: { client: PodNet; server: PodNet }, issuer: Issuer, root: Issuer) {
  const keys = generateKeyPair()
  const authority = authorityFrom(secret('cacerts', cacerts(issuer, [root])))
  const id = spiffeId({ trustDomain: 'cluster.local', namespace: 'demo', serviceAccount: 'client' })
  const [leaf = '', ...rest] = signWorkload(authority, id, keys.publicKey, 60_000)
  const socket = new Socket({ fd: tcpSocket({ netns: client.netns, family: 'ipv4', mark: 0x539 }) })
  socket.connect({ host: server.v4, port: 15_008 })
  const tls = connect({
    socket,
    key: privateKeyPem(keys.privateKey),
    cert: [leaf, ...rest.slice(0, -1)].join(''),
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  })
  const refused = Promise.withResolvers<string>()
  tls.on('error', (error) => refused.resolve(messageOf(error)))
  tls.on('close', () => refused.resolve('closed'))
  tls.on('data', () => refused.resolve('')) // SETTINGS: it talks to us
  const answer = await refused.promise
  tls.destroy()
  return answer
}

t.test(
  'intermediate and root are replaced while two nodes carry traffic: no connection fails, and the old root is out',
  { skip: needsRoot, timeout: 170_000 },
  async (t) => {
    const [oldRoot, newRoot] = [rootOf('old'), rootOf('new')]
    const [first, second] = [intermediateOf(oldRoot, 'first'), intermediateOf(oldRoot, 'second')]
    const third = intermediateOf(newRoot, 'third')
    const { kube, pods, processes, published } = await openWorld(
      t,
      secret('cacerts', cacerts(first, [oldRoot])),
    )
    const apps = [await echoIn(pods.client), await echoIn(pods.server)]
    t.teardown(() => apps.forEach((app) => app.close()))
    const dial = (n: number) =>
      n % 2 === 0
        ? connectIn(pods.client.netns, pods.server.v4, 8080)
        : connectIn(pods.server.netns, pods.client.v4, 8080)
    const call = async (n: number) => talk(await dial(n), `message ${n}`)
    await eventually(
      async () =>
        (await call(0).catch(() => '')).endsWith('message 0') &&
        (await call(1).catch(() => '')).endsWith('message 1'),
      'the mesh is up',
      30_000,
    )
    const all = async (want: { issuer: string; roots: number }) =>
      (await Promise.all(processes.map(held))).every(
        ({ issuer, roots }) => issuer === want.issuer && roots === want.roots,
      )
    t.ok(await all({ issuer: 'first', roots: 1 }))
    t.equal(await knock(pods, first, oldRoot), '', 'a stranger with a certificate of the CA in use is heard')
    t.not(await knock(pods, third, newRoot), '', 'one of a CA that nobody knows yet is not')

    const put = (...of: Parameters<typeof cacerts>) => kube.put(secret('cacerts', cacerts(...of)))
    const pem = (...roots: Issuer[]) => roots.map(({ certPem }) => certPem).join('')
    const run = traffic(t, call)
    const open = await dial(0)
    const chunks: string[] = []
    open.on('data', (chunk: Buffer) => chunks.push(chunk.toString()))
    open.on('error', () => undefined)
    const gone = new Promise<void>((resolve) => open.once('close', () => resolve()))
    const stillTalks = async (word: string) => {
      open.write(word)
      await eventually(() => chunks.join('').includes(word), `the open connection says ${word}`)
    }
    await stillTalks('begun')
    await run.later()

    put(second, [oldRoot])
    await run.later()
    put(second, [oldRoot, newRoot])
    await eventually(
      () => all({ issuer: 'second', roots: 2 }),
      'a new intermediate, and both roots, on every node',
      30_000,
    )
    t.equal(published(), pem(oldRoot, newRoot))
    await run.later()
    await stillTalks('both-roots')
    t.equal(await knock(pods, first, oldRoot), '', 'certificates of the first intermediate are good')
    t.equal(await knock(pods, third, newRoot), '', 'and those of the root to come')

    // The roots in another order: proxies see another file, and renew at once instead of at half-life.
    put(third, [newRoot, oldRoot])
    await eventually(
      () => all({ issuer: 'third', roots: 2 }),
      'certificates of the new root on every node',
      30_000,
    )
    await run.later()
    await stillTalks('new-issuer')

    put(third, [newRoot])
    await eventually(() => all({ issuer: 'third', roots: 1 }), 'the new root alone', 30_000)
    t.equal(published(), pem(newRoot))
    await gone // it was begun under a root that nobody believes in any more
    t.not(await knock(pods, first, oldRoot), '', 'the old root is out')
    t.equal(await knock(pods, third, newRoot), '')
    await run.later()
    const count = await run.stop()
    t.strictSame(run.failures, [], `of ${count} connections`)
    t.equal(
      chunks.join('').replace(/^\S+ /, ''),
      'begunboth-rootsnew-issuer',
      'not a byte of the open one was lost',
    )
  },
)
