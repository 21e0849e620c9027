import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { request } from 'node:http'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { WebSocket } from 'ws'
import { silent } from '#telemetry'
import { run } from '../../sandbox/net/index.ts'
import { keepTarget } from '../../sandbox/node/container-run.ts'
import { LogPump } from '../../sandbox/node/logs/pump.ts'
import { startContainer, signalContainer, waitForExit } from '../../sandbox/node/runtime/container.ts'
import { serveKubelet } from '../../sandbox/node/server/kubelet.ts'

t.setTimeout(300_000) // the machine may be busy; it takes two seconds on an idle one
const skip = process.getuid?.() !== 0 && 'needs root'
const signal = AbortSignal.timeout(300_000)

t.test('streams of a node', { skip }, async (t) => {
  const base = await mkdtemp(`${tmpdir()}/lateen-streams-`)
  const dir = `${base}/0`
  t.teardown(() => rm(base, { recursive: true, force: true }))
  await mkdir(dir)
  const target = {
    dir,
    user: { uid: 0, gid: 0, groups: [] },
    capabilities: ['kill'],
    env: { PATH: process.env['PATH'] ?? '' },
    workingDir: '/',
  }
  const command = ['sh', '-c', 'echo started; sleep 600']
  // Not attached to any network: the streams do not need one.
  await startContainer(
    {
      ...target,
      command,
      netns: '/proc/self/ns/net',
      hostname: 'x',
      processes: 'own',
      mounts: [],
      readOnlyRoot: false,
    },
    signal,
  )
  await keepTarget(target)
  t.teardown(async () => {
    signalContainer(dir, 'SIGKILL')
    await waitForExit(dir, signal)
  })
  const socketPath = `${base}/kubelet.sock`
  const pod = {
    runDir: (name: string, previous?: boolean) => (name === 'c' && !previous ? dir : undefined),
    netnsPath: '/proc/self/ns/net',
  }
  const find = (_: string, name: string) => (name === 'p' ? pod : undefined)
  const server = await serveKubelet({ socketPath, find, log: silent, signal })
  t.teardown(() => server[Symbol.asyncDispose]())

  const open = (path: string, protocols = ['v5.channel.k8s.io']) => {
    const client = new WebSocket(`ws+unix:${socketPath}:${path}`, protocols)
    const output = new Map<number, Buffer[]>()
    client.on('message', (message: Buffer) => {
      const channel = message[0] ?? 0
      output.set(channel, [...(output.get(channel) ?? []), message.subarray(1)])
    })
    return { client, on: (channel: number) => Buffer.concat(output.get(channel) ?? []) }
  }
  const exec = (script: string, more = '') =>
    `/exec/ns/p/c?command=sh&command=-c&command=${encodeURIComponent(script)}&stdout=1&stderr=1${more}`

  await t.test('exec: output, errors and exit code on their channels, then a proper close', async (t) => {
    const { client, on } = open(exec('echo out; echo err >&2; exit 3'), [
      'v5.channel.k8s.io',
      'v4.channel.k8s.io',
    ])
    const [code] = await once(client, 'close')
    t.equal(client.protocol, 'v5.channel.k8s.io')
    t.strictSame([String(on(1)), String(on(2)), code], ['out\n', 'err\n', 1000])
    t.match(JSON.parse(String(on(3))), {
      status: 'Failure',
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: '3' }] },
    })
  })

  await t.test('exec: two megabytes go in and come back; the close of stdin is heard', async (t) => {
    const { client, on } = open(exec('cat', '&stdin=1'))
    await once(client, 'open')
    const bytes = Buffer.alloc(2 * 1024 * 1024, 'payload')
    for (let at = 0; at < bytes.length; at += 32_768)
      client.send(Buffer.concat([Buffer.of(0), bytes.subarray(at, at + 32_768)]))
    client.send(Buffer.of(255, 0))
    await once(client, 'close')
    t.ok(on(1).equals(bytes))
    t.match(JSON.parse(String(on(3))), { status: 'Success' })
  })

  await t.test('exec: a client that goes takes its program along, with its children', async (t) => {
    const { client } = open(exec('sleep 54321 & sleep 54321'))
    const count = async () => (await run(['pgrep', '-fc', '^sleep 54321'])).stdout.trim()
    while ((await count()) !== '2');
    client.terminate()
    const deadline = Date.now() + 20_000
    while ((await count()) !== '0' && Date.now() < deadline);
    t.equal(await count(), '0')
  })

  await t.test('exec: a terminal, when one is asked for', async (t) => {
    const { client, on } = open(exec('test -t 0 && test -t 1 && echo terminal', '&tty=1&stdin=1'))
    await once(client, 'close')
    t.match(String(on(1)), 'terminal\r\n')
  })

  await t.test('what is not there is refused before any upgrade', async (t) => {
    for (const path of [
      exec('true').replace('/p/', '/q/'),
      exec('true').replace('/c?', '/d?'),
      '/nothing/ns/p/c',
    ]) {
      const { client } = open(path)
      const [error] = (await once(client, 'error')) as [Error]
      t.match(error.message, /Unexpected server response: 40[04]/)
    }
  })

  await t.test('logs: what was printed; a follower goes on until the container ends', async (t) => {
    const pump = new LogPump(dir)
    const get = (path: string) =>
      new Promise<{ status: number | undefined; body: Promise<string> }>((resolve, reject) =>
        request({ socketPath, path }, (response) =>
          resolve({ status: response.statusCode, body: text(response) }),
        )
          .on('error', reject)
          .end(),
      )
    t.equal((await get('/containerLogs/ns/p/c?previous=true')).status, 400)
    const followed = await get('/containerLogs/ns/p/c?follow=true')
    await writeFile(`${dir}/stdout`, 'more\n', { flag: 'a' })
    setTimeout(() => void pump.finish(), 100)
    t.equal(await followed.body, 'started\nmore\n')
    t.equal(await (await get('/containerLogs/ns/p/c?tailLines=1')).body, 'more\n')
  })

  await t.test(
    'port-forward: bytes both ways; a closed port is said on its error channel',
    { skip: !existsSync('.build/sys.node') && 'needs npm run setup' },
    async (t) => {
      const echo = spawn(process.execPath, [
        '-e',
        "require('net').createServer((s) => s.pipe(s)).listen(0, '127.0.0.1', function () { console.log(this.address().port) })",
      ])
      t.teardown(() => echo.kill('SIGKILL'))
      const [line] = (await once(echo.stdout, 'data')) as [Buffer]
      const port = Number(line)
      const { client, on } = open(`/portForward/ns/p?ports=${port}`, ['v4.channel.k8s.io'])
      await once(client, 'open')
      client.send(Buffer.concat([Buffer.of(0), Buffer.from('ping')]))
      while (!String(on(0).subarray(2)).includes('ping')) await once(client, 'message')
      t.equal(on(0).readUInt16LE(0), port)
      client.close()
      const closed = open('/portForward/ns/p?ports=1', ['v4.channel.k8s.io'])
      await once(closed.client, 'close')
      t.match(String(closed.on(1).subarray(2)), /cannot reach port 1: .*ECONNREFUSED/)
      const spdy = open('/portForward/ns/p?ports=1', ['SPDY-3.1'])
      const [error] = (await once(spdy.client, 'error')) as [Error]
      t.match(error.message, /501/)
    },
  )
})
