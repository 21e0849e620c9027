/** Every protocol between two pods, through ztunnel, waypoint and ztunnel. */
import { createHash } from 'node:crypto'
import t from 'tap'
import { type Answer, type Ask, echoOf, pattern } from './kit/answer.ts'
import { play, readCases } from './kit/cases.ts'
import { exec, nameOf, pods, skip } from './kit/cluster.ts'
import { openStage, type Stage } from './kit/stage.ts'

t.setTimeout(400_000)

const mebibyte = 1 << 20
/** Far more than what a waypoint may keep of one. */
const bigBody = 128 * mebibyte
/** For buffers and what the collector has not come to: less than one of the bodies, were it kept. */
const roomBytes = 112 * mebibyte

const residentScript = `
  const fs = require('node:fs')
  const read = (pid, file) => { try { return fs.readFileSync('/proc/' + pid + '/' + file, 'utf8') } catch { return '' } }
  for (const pid of fs.readdirSync('/proc'))
    if (pid !== String(process.pid) && read(pid, 'cmdline').includes('waypoint/main.ts'))
      console.log(/VmRSS:\\s+(\\d+)/.exec(read(pid, 'status'))[1])`

/** The waypoint's resident memory. */
async function memoryOf({ ns }: Stage): Promise<number> {
  const [pod] = await pods(ns, 'gateway.networking.k8s.io/gateway-name=waypoint')
  const { stdout, stderr } = await exec(ns, pod ? nameOf(pod) : '', ['node', '-e', residentScript])
  const [kibibytes] = stdout.trim().split('\n')
  if (!kibibytes) throw new Error(`no waypoint process in its pod: ${stderr}`)
  return Number(kibibytes) * 1_024
}

const digests = new Map<number, string>()
/** Of a body of that many bytes as both sides make it. */
function digestOf(bytes: number): string {
  const known = digests.get(bytes)
  if (known !== undefined) return known
  const hash = createHash('sha256')
  for (const block of pattern(bytes)) hash.update(block)
  const digest = hash.digest('hex')
  digests.set(bytes, digest)
  return digest
}

t.test('protocols', { skip, timeout: 390_000 }, async (t) => {
  const stage = await openStage(t, 'protocols')
  const { client } = stage.callers
  await t.test('protocols.yaml', { timeout: 200_000 }, (t) =>
    play(t, stage, readCases('protocols.yaml', stage)),
  )

  await t.test('a client that waits to be told to go on', async (t) => {
    for (const version of [1, 2] as const) {
      const body = 3 * mebibyte
      const port = version === 1 ? 80 : 8081
      const ask = { kind: 'http', url: `http://echo-v1:${port}/`, method: 'POST', body } as const
      const got = await client({ ...ask, expectContinue: version === 1, version })
      t.match(
        echoOf(got),
        { app: 'v1', bytes: body, sha256: digestOf(body) },
        `HTTP/${version}: all of it arrives`,
      )
      if (version === 1) t.equal(got.interim[0]?.status, 100, 'after the server has said so')
    }
  })

  await t.test('early hints come before the answer', async (t) => {
    const headers = { 'x-echo-hints': '</style.css>; rel=preload' }
    for (const version of [1, 2] as const)
      for (const port of [80, 8081]) {
        const got = await client({ kind: 'http', url: `http://echo-v1:${port}/`, headers, version })
        const [hint] = got.interim
        t.match(
          hint,
          { status: 103, headers: { link: headers['x-echo-hints'] } },
          `HTTP/${version} to port ${port}`,
        )
        t.equal(echoOf(got)?.app, 'v1')
      }
  })

  await t.test('WebSocket is a conversation', async (t) => {
    for (const version of [1, 2] as const)
      for (const port of [80, 8081, 8082, 8083]) {
        if (port === 8083 && version === 2) continue // what nobody declares is spoken to the app as it came
        const messages = ['one', 'x'.repeat(70_000), 'three']
        const got = await client({ kind: 'websocket', url: `ws://echo-v1:${port}/chat`, messages, version })
        const how = `HTTP/${version} to port ${port}`
        t.same(got.messages.slice(1), messages, `${how}: every message comes back`)
        const hello = { app: 'v1', path: '/chat', version: port === 8081 ? '2.0' : '1.1' }
        t.match(JSON.parse(got.messages[0] ?? '{}'), hello, 'after the server has spoken')
        if (version === 1) t.equal(got.body, '1000', 'and both close as they agreed')
      }
  })

  await t.test('gRPC streams both ways and has deadlines', async (t) => {
    const ask = { kind: 'grpc', target: 'echo-v1:7070' } as const
    const messages = ['one', 'two', 'three']
    const chat = await client({ ...ask, method: '/echo.Echo/Chat', messages })
    t.same(
      chat.messages.map((body) => (echoOf({ body }) as { message?: string } | undefined)?.message),
      messages,
      'each message is answered before the next is sent',
    )
    t.match(chat.trailers, { 'grpc-status': '0', 'x-echo-trailer': 'v1' }, 'and trailers come at the end')
    const late = await client({
      ...ask,
      method: '/echo.Echo/Echo',
      deadlineMs: 300,
      headers: { 'x-echo-delay-ms': '6000' },
    })
    t.equal(late.trailers['grpc-status'], '4', 'who has no time left is told so')
  })

  await t.test(
    'big bodies pass both ways, and a waypoint keeps little of them',
    { timeout: 150_000 },
    async (t) => {
      const up = (port: number, version: 1 | 2): Ask => ({
        kind: 'http',
        url: `http://echo-v2:${port}/`,
        method: 'POST',
        body: bigBody,
        version,
      })
      const down = (port: number, version: 1 | 2): Ask => ({
        kind: 'http',
        url: `http://echo-v2:${port}/`,
        headers: { 'x-echo-bytes': String(bigBody) },
        version,
      })
      // One of everything before the memory is looked at.
      await client({ ...up(80, 1), body: mebibyte } as Ask)
      const before = await memoryOf(stage)
      let most = before
      const measured = async (ask: Ask): Promise<Answer> => {
        const answer = client(ask)
        most = Math.max(most, await memoryOf(stage))
        await answer
        most = Math.max(most, await memoryOf(stage))
        return answer
      }
      for (const [port, version] of [
        [80, 1],
        [8081, 2],
        [8081, 1],
      ] as const) {
        const how = `HTTP/${version} to port ${port}`
        t.match(
          echoOf(await measured(up(port, version))),
          { bytes: bigBody, sha256: digestOf(bigBody) },
          `up, ${how}`,
        )
        t.match(
          await measured(down(port, version)),
          { bytes: bigBody, sha256: digestOf(bigBody) },
          `down, ${how}`,
        )
      }
      const slow = { ...down(80, 1), readBytesPerSecond: 64 * mebibyte } as Ask
      t.match(await measured(slow), { bytes: bigBody, sha256: digestOf(bigBody) }, 'to who reads slowly')
      t.ok(most - before < roomBytes, `the waypoint grew by ${Math.round((most - before) / mebibyte)} MiB`)
    },
  )
})
