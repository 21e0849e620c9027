import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { PodContainer } from '../../../sandbox/node/pod/pod.ts'
import { ask, portNumber, type ProbeTarget } from '../../../sandbox/node/probes/ask.ts'
import { emptyTally, judge } from '../../../sandbox/node/probes/judge.ts'
import { type ProbeNews, runProbes } from '../../../sandbox/node/probes/prober.ts'
import { podOf } from './pods.ts'

const signal = AbortSignal.timeout(100_000)
const containerOf = (parts: Record<string, unknown>): PodContainer => {
  const [container] = podOf({ containers: [{ name: 'a', ...parts }] }).spec.containers
  if (!container) throw new Error('one container')
  return container
}

const sequences: [string, { successThreshold: number; failureThreshold: number }, string, string][] = [
  ['one success is enough by default', { successThreshold: 1, failureThreshold: 3 }, '+', 'T'],
  ['one failure is not', { successThreshold: 1, failureThreshold: 3 }, '--', '..'],
  ['three in a row are', { successThreshold: 1, failureThreshold: 3 }, '---', '..F'],
  ['a success starts the count anew', { successThreshold: 1, failureThreshold: 3 }, '--+--', '..TTT'],
  [
    'a ready one stays ready through single failures',
    { successThreshold: 1, failureThreshold: 2 },
    '+-+--',
    'TTTTF',
  ],
  ['more than one success may be asked for', { successThreshold: 2, failureThreshold: 1 }, '-+-++', 'FFFFT'],
]
for (const [name, probe, answers, want] of sequences) {
  t.test(name, async (t) => {
    let tally = emptyTally
    const verdicts = answers.split('').map((answer) => {
      tally = judge(tally, answer === '+', probe)
      return tally.verdict === undefined ? '.' : tally.verdict ? 'T' : 'F'
    })
    t.equal(verdicts.join(''), want)
  })
}

t.test('probes ask over HTTP and TCP, by port name too, and say why they failed', async (t) => {
  const server = createServer((request, response) => {
    const status = Number(request.url?.slice(1))
    if (status > 0) response.writeHead(status).end(request.headers['x-a'])
  }).listen(0, '127.0.0.1')
  t.teardown(() => (server.closeAllConnections(), server.close()))
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const ports = containerOf({ ports: [{ name: 'web', containerPort: port }] }).ports
  const target: ProbeTarget = {
    podIp: '127.0.0.1',
    ports,
    exec: async ([code]) => ({ code: Number(code), output: 'no!\n' }),
  }
  const http = (path: string, at: number | string = 'web') => ({
    httpGet: { path, port: at, scheme: 'HTTP', httpHeaders: [] },
  })
  t.strictSame(await ask(http('/200'), target, 1_000, signal), { passed: true })
  t.strictSame(await ask(http('399'), target, 1_000, signal), { passed: true })
  t.match(await ask(http('/503'), target, 1_000, signal), {
    passed: false,
    message: 'HTTP probe failed with statuscode: 503',
  })
  t.match(await ask(http('/0'), target, 50, signal), { passed: false, message: 'timeout after 50 ms' })
  t.match(await ask(http('/200', 'other'), target, 1_000, signal), {
    passed: false,
    message: 'no port named other',
  })
  t.strictSame(await ask({ tcpSocket: { port } }, target, 1_000, signal), { passed: true })
  t.match(await ask({ tcpSocket: { port: 1 } }, target, 1_000, signal), {
    passed: false,
    message: /ECONNREFUSED/,
  })
  t.strictSame(await ask({ exec: { command: ['0'] } }, target, 1_000, signal), { passed: true })
  t.match(await ask({ exec: { command: ['3'] } }, target, 1_000, signal), { passed: false, message: 'no!' })
  t.match(await ask({}, target, 1_000, signal), { passed: false })
  t.equal(portNumber('8080', []), 8080)
})

t.test('readiness waits for startup; liveness kills once', async (t) => {
  let startup = false
  let alive = true
  const target: ProbeTarget = {
    podIp: '',
    ports: [],
    exec: async ([what]) => ({
      code: (what === 'startup' ? startup : what === 'live' ? alive : true) ? 0 : 1,
      output: 'x',
    }),
  }
  const exec = (what: string) => ({ exec: { command: [what] }, periodSeconds: 0.02, failureThreshold: 2 })
  const container = containerOf({
    startupProbe: { ...exec('startup'), failureThreshold: 1_000 },
    readinessProbe: exec('ready'),
    livenessProbe: exec('live'),
  })
  const news: ProbeNews[] = []
  const end = new AbortController()
  const kinds = () => news.filter(({ kind }) => kind !== 'unhealthy').map(({ kind }) => kind)
  const heard = (kind: string) =>
    new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (!news.some((each) => each.kind === kind)) return
        clearInterval(timer)
        resolve()
      }, 5)
    })
  const running = runProbes(container, target, (each) => news.push(each), false, end.signal)
  await heard('unhealthy')
  t.strictSame(kinds(), [], 'nothing else is asked before')
  startup = true
  await heard('ready')
  t.strictSame(kinds().slice(0, 2), ['started', 'ready'])
  alive = false
  await heard('dead')
  t.equal(news.filter(({ kind }) => kind === 'dead').length, 1)
  end.abort()
  await running
})

t.test('periods and thresholds of 0 or less count as not given: nothing is asked without a pause', (t) => {
  const none = { periodSeconds: 0, timeoutSeconds: -1, successThreshold: 0, failureThreshold: 0 }
  const probe = { tcpSocket: { port: 1 }, ...none }
  t.match(containerOf({ readinessProbe: probe }).readinessProbe, {
    periodSeconds: 10,
    timeoutSeconds: 1,
    successThreshold: 1,
    failureThreshold: 3,
  })
  t.end()
})
