import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'

const binary = join(import.meta.dirname, '../../.build/istio-cni')
const skip = !existsSync(binary) && 'run `npm run setup`'
const directory = mkdtempSync('/tmp/lateen-cni-')
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

type Ran = { code: number | null; stdout: string; stderr: string }
type Call = { command?: string; input?: string; runDir?: string; args?: string; config?: object }

/** What a runtime does: environment, configuration on stdin, result on stdout. */
async function run({ command = 'ADD', input, runDir = directory, args, config = {} }: Call): Promise<Ran> {
  const child = spawn(binary, [], {
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'box-1',
      CNI_NETNS: '/var/run/netns/cni-1',
      CNI_IFNAME: 'eth0',
      CNI_ARGS: args ?? 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=order-1;K8S_POD_UID=u-1',
    },
  })
  child.stdin.on('error', () => undefined)
  child.stdin.end(
    input ??
      JSON.stringify({
        cniVersion: '1.0.0',
        name: 'net',
        type: 'istio-cni',
        cni_agent_run_dir: runDir,
        ...config,
      }),
  )
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

type Seen = { method: string | undefined; path: string | undefined; body: Record<string, unknown> }
/** An agent that answers as it is told. */
async function agent(status: number, body = 'ok\n', dir = mkdtempSync(join(directory, 'run-'))) {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk) => (text += chunk))
    request.on('end', () => {
      seen.push({ method: request.method, path: request.url, body: JSON.parse(text) })
      response.writeHead(status).end(body)
    })
  })
  server.listen(join(dir, 'pluginevent.sock'))
  await once(server, 'listening')
  return { seen, runDir: dir, [Symbol.dispose]: () => void server.close() }
}

const result = {
  cniVersion: '1.0.0',
  interfaces: [{ name: 'eth0', sandbox: '/var/run/netns/cni-1' }],
  ips: [
    { address: '10.244.1.5/24', gateway: '10.244.1.1' },
    { interface: 0, address: 'fd00::5/64' },
  ],
  dns: {
    odd: 'a "quoted" \\ back\u0007slash é {[}]',
    nested: { deep: [1, 2.5e3, null, true, { x: '\\"' }] },
  },
}

t.test('ADD asks the agent, then prints the result before it, byte for byte', { skip }, async (t) => {
  using asked = await agent(200)
  // Unusual blanks must survive too, hence text and not an object.
  const text = JSON.stringify(result, undefined, 3).replaceAll('é', '\\u00e9')
  const input = `  {"cniVersion":"0.3.1","name":"n","type":"istio-cni","cni_agent_run_dir":"${asked.runDir}","prevResult":${text}  ,"z":1}\n`
  const ran = await run({ input })
  t.equal(ran.stdout, `${text}\n`)
  t.equal(ran.code, 0)
  t.same(asked.seen, [
    {
      method: 'POST',
      path: '/cmdadd',
      body: {
        Netns: '/var/run/netns/cni-1',
        PodName: 'order-1',
        PodNamespace: 'shop',
        PodUID: 'u-1',
        ContainerID: 'box-1',
        IPs: ['10.244.1.5/24', 'fd00::5/64'],
      },
    },
  ])
})

t.test('a refusal keeps the pod from starting, and its reason is in the error', { skip }, async (t) => {
  using asked = await agent(500, 'no "ztunnel"\nconnection\\ %s%n')
  const ran = await run({ runDir: asked.runDir, config: { prevResult: result } })
  t.equal(ran.code, 1)
  t.same(JSON.parse(ran.stdout), {
    cniVersion: '1.0.0',
    code: 999,
    msg: "the mesh's agent could not capture the pod",
    details: 'no "ztunnel"\nconnection\\ %s%n',
  })
})

t.test('every other status is a refusal too', { skip }, async (t) => {
  for (const status of [201, 204, 301, 400, 404, 503]) {
    using asked = await agent(status, '')
    t.equal((await run({ runDir: asked.runDir })).code, 1, `${status}`)
  }
})

t.test('without an agent the pod does not start', { skip }, async (t) => {
  const ran = await run({ runDir: join(directory, 'nobody') })
  t.equal(ran.code, 1)
  t.match(JSON.parse(ran.stdout), { code: 11, details: /No such file/ })
})

t.test('an agent that comes back in time is waited for', { skip }, async (t) => {
  const dir = mkdtempSync(join(directory, 'late-'))
  const running = run({ runDir: dir })
  await new Promise((resolve) => setTimeout(resolve, 300)) // the plugin is refused at least once
  using _asked = await agent(200, 'ok', dir)
  t.equal((await running).code, 0)
})

t.test('an agent that hangs up or talks nonsense is no agent', { skip }, async (t) => {
  const { createServer: listen } = await import('node:net')
  for (const answer of ['', 'garbage\r\n\r\n', 'HTTP/1.1 ', 'HTTP/1.1 2']) {
    const dir = mkdtempSync(join(directory, 'bad-'))
    const server = listen((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end(answer))
    }).listen(join(dir, 'pluginevent.sock'))
    await once(server, 'listening')
    const ran = await run({ runDir: dir })
    t.equal(ran.code, 1, JSON.stringify(answer))
    t.ok(JSON.parse(ran.stdout).code > 0)
    server.close()
  }
})

const unasked: [string, Call][] = [
  ['the agent itself', { args: 'K8S_POD_NAMESPACE=istio-system;K8S_POD_NAME=istio-cni-node-x7b' }],
  [
    'the agent in another namespace',
    { args: 'K8S_POD_NAMESPACE=mesh;K8S_POD_NAME=istio-cni-node-x', config: { pod_namespace: 'mesh' } },
  ],
  ['kube-system by default', { args: 'K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=dns' }],
  ['an excluded namespace', { config: { exclude_namespaces: ['other', 'shop'] } }],
  ['what is no Kubernetes pod', { args: 'IgnoreUnknown=1' }],
]
for (const [name, call] of unasked) {
  t.test(`passes unasked: ${name}`, { skip }, async (t) => {
    const ran = await run({
      ...call,
      config: { ...call.config, prevResult: result, cni_agent_run_dir: join(directory, 'nobody') },
    })
    t.equal(ran.stdout, `${JSON.stringify(result)}\n`)
    t.equal(ran.code, 0)
  })
}

t.test('these do not pass unasked', { skip }, async (t) => {
  using asked = await agent(200)
  const base = { cni_agent_run_dir: asked.runDir, prevResult: result }
  for (const call of [
    { args: 'K8S_POD_NAMESPACE=shop;K8S_POD_NAME=istio-cni-node-x7b' },
    { args: 'K8S_POD_NAMESPACE=istio-system;K8S_POD_NAME=istio-cni-nod' },
    { args: 'K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=x', config: { exclude_namespaces: [] } },
    { args: 'XK8S_POD_NAMESPACE=kube-system;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=x' },
  ])
    t.equal((await run({ ...call, config: { ...base, ...call.config } })).code, 0)
  t.equal(asked.seen.length, 4)
})

t.test('names with characters of JSON arrive as they are', { skip }, async (t) => {
  using asked = await agent(200)
  const name = 'a"b\\c\u0001$(touch x)%n'
  await run({ runDir: asked.runDir, args: `K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${name};K8S_POD_UID=u` })
  t.equal(asked.seen[0]?.body['PodName'], name)
})

t.test('what cannot be read is an error, never a pass', { skip }, async (t) => {
  const bad = [
    '',
    '{',
    'nonsense',
    '[]',
    '{"a":1}}',
    '{"a" 1}',
    '{"prevResult":{"x":"}',
    `{"a":${'['.repeat(100)}${']'.repeat(100)}}`,
    '{"a":"\u0001"}',
  ]
  for (const input of bad) {
    const ran = await run({ input })
    t.equal(ran.code, 1, input.slice(0, 20))
    t.equal(JSON.parse(ran.stdout).code, 6)
  }
  const huge = await run({ input: `{"a":"${'x'.repeat(2 << 20)}"}` })
  t.match(JSON.parse(huge.stdout), { code: 6, msg: /too large/ })
})

t.test('DEL tells the agent and never fails; CHECK and VERSION need nobody', { skip }, async (t) => {
  using asked = await agent(500)
  t.match(await run({ command: 'DEL', runDir: asked.runDir }), { code: 0, stdout: '' })
  t.match(asked.seen, [{ path: '/cmddel', body: { PodUID: 'u-1', ContainerID: 'box-1' } }])
  t.equal((await run({ command: 'DEL', runDir: join(directory, 'nobody') })).code, 0)
  t.equal((await run({ command: 'DEL', input: 'nonsense' })).code, 0)
  t.equal((await run({ command: 'CHECK', runDir: join(directory, 'nobody') })).code, 0)
  const version = await run({ command: 'VERSION' })
  t.ok(JSON.parse(version.stdout).supportedVersions.includes('1.0.0'))
  t.match(await run({ command: 'DANCE' }), { code: 1, stdout: /unknown CNI_COMMAND/ })
})

t.test('it needs no library of the host', { skip }, async (t) => {
  const said = await new Promise<string>((resolve) =>
    execFile('ldd', [binary], (_, stdout, stderr) => resolve(stdout + stderr)),
  )
  t.match(said, /not a dynamic executable|statically linked/)
})
