import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'

const root = process.getuid?.() === 0

type Told = Readonly<{ logged: number; dropped: number; longestTurnMs: number; rss: number }>
const chatter = import.meta.resolve('./chatter.ts').replace('file://', '')

async function start(
  test: { teardown(fn: () => unknown): unknown },
  stdout: StdioOptions[number],
  command: readonly string[] = [process.execPath, chatter],
) {
  const [file = '', ...args] = command
  const child = spawn(file, args, { stdio: ['ignore', stdout, 'inherit', 'ipc'] } as {
    stdio: StdioOptions
  })
  test.teardown(() => child.kill('SIGKILL'))
  await once(child, 'message')
  const ask = async (lines: number, flush = false): Promise<Told> => {
    child.send({ lines, flush })
    const [told] = await once(child, 'message')
    return told
  }
  return { child, ask }
}
const parsed = (text: string) =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
const ends = async (child: ChildProcess) => {
  child.disconnect()
  const [code] = child.exitCode === null ? await once(child, 'exit') : [child.exitCode]
  return code
}

t.test('a log whose reader has closed loses lines and nothing else', async (t) => {
  const { child, ask } = await start(t, 'pipe')
  t.equal((await ask(10)).dropped, 0)
  const closed = once(child.stdout ?? child, 'close')
  child.stdout?.destroy()
  await closed
  await ask(100)
  const { dropped } = await ask(100)
  t.ok(dropped >= 100 && dropped <= 200, `${dropped} of 200 lines are counted as lost`)
  t.equal(await ends(child), 0)
})

t.test('a log whose reader is stopped holds 4 MiB, and tells what is missing when it goes on', async (t) => {
  const cat = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => cat.kill('SIGKILL'))
  const { child, ask } = await start(t, cat.stdin)
  cat.kill('SIGSTOP')
  const before = await ask(1)
  const full = await ask(30_000) // 30 MB
  t.ok(full.dropped > 20_000, `${full.dropped} lines dropped`)
  t.ok(full.longestTurnMs < 10_000, `the loop was never held (${full.longestTurnMs} ms)`)
  t.ok(full.rss - before.rss < 64 << 20, `${(full.rss - before.rss) >> 20} MiB more`)
  let text = ''
  cat.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk))
  cat.kill('SIGCONT')
  await ask(0, true)
  const { dropped } = await ask(1, true)
  const catClosed = once(cat, 'close')
  cat.stdin.destroy()
  t.equal(await ends(child), 0)
  await catClosed
  const lines = parsed(text)
  const missing = lines.filter(({ message }) => message === 'lines dropped')
  t.equal(
    missing.reduce((sum, { count }) => sum + count, 0),
    dropped,
    'the log itself says how many lines are missing',
  )
  t.equal(lines.length - missing.length, 30_002 - dropped, 'and has all others')
})

t.test('a full device takes nothing and harms nothing', async (t) => {
  const { child, ask } = await start(t, openSync('/dev/full', 'w'))
  const { logged, dropped } = await ask(500, true)
  t.equal(logged, 500)
  t.equal(dropped, 500)
  t.equal(await ends(child), 0)
})

t.test(
  'a full disk loses lines; with room again the log goes on, with whole lines',
  { skip: !root && 'needs root' },
  async (t) => {
    const at = t.testdir()
    // In a mount namespace of its own: it ends with the process, and nobody else sees the small disk.
    const script = `mount -t tmpfs -o size=128k telemetry ${at} && exec "$0" "$1" > ${at}/log`
    const command = [
      'unshare',
      '--mount',
      '--fork',
      '--kill-child',
      'sh',
      '-c',
      script,
      process.execPath,
      chatter,
    ]
    const { child, ask } = await start(t, 'ignore', command)
    const [inside] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')
    const disk = `/proc/${inside}/root${at}`
    t.equal((await ask(50)).dropped, 0)
    writeFileSync(`${disk}/filler`, Buffer.alloc(30 << 10))
    const { dropped } = await ask(200)
    t.ok(dropped > 0 && dropped < 200, `${dropped} lines dropped`)
    rmSync(`${disk}/filler`)
    const after = await ask(10, true)
    t.equal(after.dropped, dropped, 'nothing is lost any more')
    const text = readFileSync(`${disk}/log`, 'utf8')
    const lines = text.split('\n').filter((line) => line !== '')
    const torn = lines.filter((line) => !line.endsWith('}'))
    t.ok(torn.length <= 1, 'half a line at most, and it stands alone')
    const whole = parsed(lines.filter((line) => line.endsWith('}')).join('\n'))
    t.same(
      whole.slice(-10).map(({ number }) => number),
      [250, 251, 252, 253, 254, 255, 256, 257, 258, 259],
    )
    t.ok(whole.some(({ message, count }) => message === 'lines dropped' && count === dropped))
    t.equal(await ends(child), 0)
  },
)
