import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { createInterface } from 'node:readline'
import t from 'tap'
import { pkiFiles } from '../../../sandbox/api/auth/index.ts'
import { sandboxConfig } from '../../../sandbox/config.ts'
import { configMap, type Parsed } from './harness.ts'

const root = process.getuid?.() === 0
const name = `api-main-${process.pid % 100_000}`
const config = sandboxConfig(name)

async function start(port: number): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, ['sandbox/api/main.ts', '--port', String(port)], {
    env: { ...process.env, LATEEN_SANDBOX: name },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (child.stdout === null) throw new Error('stdout is a pipe')
  const [line] = await once(createInterface(child.stdout), 'line')
  return { child, port: JSON.parse(String(line)).port }
}

function call(
  port: number,
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; body: Parsed }> {
  const { ca, admin } = pkiFiles(config)
  const read = (file: string) => readFileSync(file)
  const tls = {
    ca: read(ca.certificate),
    cert: read(admin.certificate),
    key: read(admin.key),
    agent: false as const,
  }
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body))
    const headers = { 'content-length': bytes.length }
    const outgoing = request({ host: '127.0.0.1', port, method, path, headers, ...tls }, (response) => {
      let text = ''
      response.on('data', (chunk) => (text += String(chunk)))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }))
    })
    outgoing.once('error', reject)
    outgoing.end(bytes)
  })
}

t.test('the process', { skip: !root && 'its state directory needs root' }, async (t) => {
  t.teardown(() => rmSync(config.stateDir, { recursive: true, force: true }))
  const path = '/api/v1/namespaces/default/configmaps'
  const first = await start(0)
  t.teardown(() => first.child.kill('SIGKILL'))
  const made = await call(first.port, 'POST', path, configMap('kept', { x: '1' }))
  t.equal(made.status, 201)

  t.test(
    'killed without warning has kept all that it acknowledged, and comes back on its port',
    async (t) => {
      first.child.kill('SIGKILL')
      await once(first.child, 'exit')
      const second = await start(first.port)
      t.teardown(() => second.child.kill('SIGKILL'))
      t.equal(second.port, first.port)
      t.same((await call(second.port, 'GET', `${path}/kept`)).body, made.body)

      t.test('asked to stop ends cleanly', async (t) => {
        second.child.kill('SIGTERM')
        t.same(await once(second.child, 'exit'), [0, null])
      })
    },
  )

  t.test('refuses to share its state', async (t) => {
    const one = await start(0)
    t.teardown(() => one.child.kill('SIGKILL'))
    const other = spawn(process.execPath, ['sandbox/api/main.ts'], {
      env: { ...process.env, LATEEN_SANDBOX: name },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    other.stderr.on('data', (chunk) => (said += String(chunk)))
    t.same(await once(other, 'exit'), [1, null])
    t.match(said, /database is locked/)
    one.child.kill('SIGTERM')
    await once(one.child, 'exit')
  })
})
