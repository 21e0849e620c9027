import t from 'tap'
import {
  apply,
  core,
  eventually,
  exec,
  isCaptured,
  meshPod,
  nameOf,
  namespace,
  readyPods,
  skip,
  twoNodes,
} from './kit/cluster.ts'

const ambient = { 'istio.io/dataplane-mode': 'ambient' }
/** Documentation addresses: nothing answers there. */
const nowhere = '192.0.2.53'

t.setTimeout(400_000)

type PodDraft = Readonly<{
  name: string
  node: string
  annotations?: Record<string, string>
  dnsPolicy?: string
  dnsConfig?: object
}>

/** A pod that waits for commands; its canonical service is its name. */
const idle = (ns: string, draft: PodDraft): string => `
apiVersion: v1
kind: Pod
metadata:
  name: ${draft.name}
  namespace: ${ns}
  labels: { app: ${draft.name}, group: peers }
  annotations: ${JSON.stringify(draft.annotations ?? {})}
spec:
  dnsPolicy: ${draft.dnsPolicy ?? 'ClusterFirst'}
  dnsConfig: ${JSON.stringify(draft.dnsConfig ?? {})}
  nodeSelector: { kubernetes.io/hostname: ${draft.node} }
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: lateen:dev
      command: [sleep, infinity]
      ports: [{ name: http, containerPort: 8080 }]
`

/** An ordinary Service, a headless one over the idle pods, and one of more endpoints than a datagram holds. */
const services = (ns: string): string => `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: ${ns} }
spec:
  ipFamilyPolicy: PreferDualStack
  selector: { app: nobody }
  ports: [{ name: http, port: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: peers, namespace: ${ns} }
spec:
  clusterIP: None
  selector: { group: peers }
  ports: [{ name: http, port: 80, targetPort: http }]
---
apiVersion: v1
kind: Service
metadata: { name: crowd, namespace: ${ns} }
spec:
  clusterIP: None
  ports: [{ name: http, port: 80 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: crowd-1, namespace: ${ns}, labels: { kubernetes.io/service-name: crowd } }
addressType: IPv4
ports: [{ name: http, port: 80, protocol: TCP }]
endpoints: ${JSON.stringify(Array.from({ length: 300 }, (_, n) => ({ addresses: [`198.51.${100 + (n >> 8)}.${n & 255}`], conditions: { ready: true } })))}
`

type Asked = Readonly<Record<string, unknown>>

/** Runs expressions with `dns` (promises), `resolver` and `ns` (its own by default) in a pod; errors are their codes. */
async function ask(
  namespaceOfPod: string,
  pod: string,
  expressions: Readonly<Record<string, string>>,
  ns = namespaceOfPod,
): Promise<Asked> {
  const script = `
const { promises: dns } = require('node:dns')
const resolver = new dns.Resolver({ timeout: 8000, tries: 1 })
const ns = ${JSON.stringify(ns)}
const jobs = { ${Object.entries(expressions)
    .map(([key, expression]) => `${JSON.stringify(key)}: () => ${expression}`)
    .join(', ')} }
const sorted = (value) => (Array.isArray(value) && value.every((each) => typeof each === 'string') ? value.toSorted() : value)
Promise.all(Object.entries(jobs).map(async ([key, job]) => [key, await job().then(sorted, (error) => error.code)]))
  .then((all) => console.log(JSON.stringify(Object.fromEntries(all))))`
  const { code, stdout, stderr } = await exec(namespaceOfPod, pod, ['node', '-e', script])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Asked
}

/** DNS requests of a pod that the ztunnel of a node has counted. */
async function counted(node: string, source: string): Promise<number> {
  const ztunnel = nameOf(await meshPod('app=ztunnel', node))
  const script = `fetch('http://127.0.0.1:15020/metrics').then((r) => r.text()).then((text) => console.log(text))`
  const { stdout } = await exec('istio-system', ztunnel, ['node', '-e', script])
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('istio_dns_requests_total') && line.includes(`"${source}"`))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

/** Names that only the search list makes whole. */
const shortNames = {
  short: `dns.lookup('web', { family: 4 }).then(({ address }) => address)`,
  short6: `dns.lookup('web', { family: 6 }).then(({ address }) => address)`,
  both: `dns.lookup('web', { all: true }).then((all) => all.map(({ address }) => address))`,
  withNamespace: 'dns.lookup(`web.${ns}`, { family: 4 }).then(({ address }) => address)',
  noSuchShortName: `dns.lookup('nosuch', { family: 4 })`,
} as const
const wholeNames = {
  long: 'resolver.resolve4(`web.${ns}.svc.cluster.local`)',
  long6: 'resolver.resolve6(`web.${ns}.svc.cluster.local`)',
  headless: 'resolver.resolve4(`peers.${ns}.svc.cluster.local`)',
  headless6: 'resolver.resolve6(`peers.${ns}.svc.cluster.local`)',
  srv: 'resolver.resolveSrv(`_http._tcp.peers.${ns}.svc.cluster.local`).then((all) => all.map(({ name, port }) => `${name} ${port}`))',
  srvVip:
    'resolver.resolveSrv(`_http._tcp.web.${ns}.svc.cluster.local`).then((all) => all.map(({ name, port }) => `${name} ${port}`))',
  ofPod: 'resolver.resolve4(`peer-a.peers.${ns}.svc.cluster.local`)',
  large: 'resolver.resolve4(`crowd.${ns}.svc.cluster.local`).then((all) => new Set(all).size)',
  text: 'resolver.resolveTxt(`web.${ns}.svc.cluster.local`)',
  noSuchName: 'resolver.resolve4(`nosuch.${ns}.svc.cluster.local`)',
  outside: `resolver.resolve4('www.example.com')`,
  reverse: `resolver.resolve4(\`kubernetes.default.svc.cluster.local\`).then(([first]) => resolver.reverse(first))`,
} as const
const everything = { ...shortNames, ...wholeNames }

t.test('names, as captured pods and others see them', { skip }, async (t) => {
  const [node] = await twoNodes()
  const outside = await namespace(t, 'dns-out')
  const inside = await namespace(t, 'dns-in', ambient)
  const useTcp = { dnsConfig: { options: [{ name: 'use-vc' }] } }
  const dead = {
    dnsPolicy: 'None',
    dnsConfig: {
      nameservers: [nowhere],
      searches: [`${inside}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local'],
      options: [{ name: 'ndots', value: '5' }],
    },
  }
  const optedOut = { annotations: { 'ambient.istio.io/dns-capture': 'false' } }
  await apply(
    [
      services(outside),
      services(inside),
      idle(outside, { name: 'stranger', node }),
      idle(inside, { name: 'asker', node }),
      idle(inside, { name: 'tcp-asker', node, ...useTcp }),
      idle(inside, { name: 'cut-off', node, ...dead }),
      idle(inside, { name: 'opted-out', node, ...optedOut }),
    ].join('---'),
  )
  const members = await readyPods(inside, 'group=peers', 4)
  t.ok(members.every(isCaptured))
  await readyPods(outside, 'group=peers', 1)
  const vips = (await core.readNamespacedService({ namespace: inside, name: 'web' })).spec?.clusterIPs ?? []
  t.equal(vips.length, 2)

  await eventually('the mesh knows all endpoints', async () => {
    const { headless, large } = await ask(inside, 'asker', everything)
    return Array.isArray(headless) && headless.length === 4 && large === 300
  })
  const before = await counted(node, 'asker')
  const seen = await ask(inside, 'asker', everything)

  t.match(seen, {
    short: vips[0],
    short6: vips[1],
    both: vips.toSorted(),
    withNamespace: vips[0],
    long: [vips[0]],
    long6: [vips[1]],
    headless: members.map(({ status }) => status?.podIP ?? '').toSorted(),
    srvVip: [`web.${inside}.svc.cluster.local 80`],
    large: 300,
    noSuchName: 'ENOTFOUND',
    text: 'ENODATA',
  })
  t.match(seen['srv'], { length: 4 }, 'the endpoints of a headless service, with their port')
  t.match(seen['reverse'], ['kubernetes.default.svc.cluster.local'])
  t.match(seen['noSuchShortName'], /^(ENOTFOUND|EAI_AGAIN)$/, 'as the upstream says that there is none')
  const others = await ask(outside, 'stranger', wholeNames, inside)
  const compared = Object.fromEntries(Object.keys(wholeNames).map((key) => [key, seen[key]]))
  t.same(compared, others, 'cluster DNS says the same to a pod that is not in the mesh')
  const after = await counted(node, 'asker')
  t.ok(after - before >= Object.keys(everything).length, `the proxy has counted them: ${before} to ${after}`)

  await t.test(
    'a pod that opted out, and pods that are not in the mesh, are not served by the proxy',
    async (t) => {
      const others = await ask(outside, 'stranger', everything)
      t.equal(others['large'], 300)
      t.match(others['noSuchName'], 'ENOTFOUND')
      t.same(await ask(inside, 'opted-out', everything), seen, 'and see the same, also over TCP')
      t.equal(await counted(node, 'opted-out'), 0)
      t.equal(await counted(node, 'stranger'), 0)
    },
  )

  await t.test('over TCP alone', async (t) => {
    const { short, short6 } = await ask(inside, 'tcp-asker', shortNames)
    t.same([short, short6], [vips[0], vips[1]])
    t.ok((await counted(node, 'tcp-asker')) > 0)
  })

  await t.test('with a nameserver that is dead: the mesh still has its names', async (t) => {
    const { short, short6, long, headless } = everything
    const names = await ask(inside, 'cut-off', { short, short6, long, headless })
    t.same(names, { short: vips[0], short6: vips[1], long: [vips[0]], headless: seen['headless'] })
    const { outside: elsewhere } = await ask(inside, 'cut-off', { outside: everything.outside })
    t.equal(elsewhere, 'ESERVFAIL', 'and other names fail, in the time that a resolver waits')
  })
})
