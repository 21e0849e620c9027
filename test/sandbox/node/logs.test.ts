import { appendFile, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { criLine, cutLines, logTime, maxLineBytes, parseCriLine } from '../../../sandbox/node/logs/cri.ts'
import { LogPump } from '../../../sandbox/node/logs/pump.ts'
import { type LogQuery, readLog } from '../../../sandbox/node/logs/read.ts'

const signal = AbortSignal.timeout(100_000)
const all: LogQuery = {
  follow: false,
  timestamps: false,
  tailLines: undefined,
  since: undefined,
  limitBytes: undefined,
}
async function runDir(test: { teardown(free: () => unknown): void }) {
  const dir = await mkdtemp(join(tmpdir(), 'lateen-logs-'))
  test.teardown(() => rm(dir, { recursive: true, force: true }))
  for (const name of ['stdout', 'stderr']) await writeFile(`${dir}/${name}`, '')
  return dir
}
const text = async (dir: string, query: Partial<LogQuery> = {}) =>
  (await Array.fromAsync(readLog(dir, { ...all, ...query }, signal))).join('')

t.test('lines are cut where they end; the rest waits', async (t) => {
  const cut = cutLines(Buffer.from('one\ntwo\nthr'), false)
  t.strictSame([cut.lines.map((each) => String(each.text)), cut.used], [['one', 'two'], 8])
  t.strictSame(
    cutLines(Buffer.from('thr'), true).lines.map((each) => String(each.text)),
    ['thr'],
  )
})

t.test('a line that is too long comes in parts', async (t) => {
  const { lines } = cutLines(Buffer.from(`${'x'.repeat(maxLineBytes + 3)}\n`), false)
  t.strictSame(
    lines.map(({ text, partial }) => [text.length, partial]),
    [
      [maxLineBytes, true],
      [3, false],
    ],
  )
})

t.test('the CRI format is read as it was written', async (t) => {
  const time = logTime(Date.UTC(2026, 10, 21))
  const line = criLine(time, 'stderr', false, Buffer.from(' two  blanks ')).toString()
  t.equal(line, '2026-11-21T00:00:00.000000000Z stderr F  two  blanks \n')
  t.strictSame(parseCriLine(line.trimEnd().concat(' ')), {
    time,
    stream: 'stderr',
    partial: false,
    text: ' two  blanks ',
  })
  t.equal(parseCriLine('garbage'), undefined)
})

t.test('what a program prints becomes its log, also across agents, each line once', async (t) => {
  const dir = await runDir(t)
  await appendFile(`${dir}/stdout`, 'a\nb\nhalf')
  const first = new LogPump(dir)
  await first[Symbol.asyncDispose]()
  t.equal(await text(dir), 'a\nb\n')
  await appendFile(`${dir}/stdout`, ' line\nlast')
  await new LogPump(dir).finish()
  t.equal(await text(dir), 'a\nb\nhalf line\nlast\n')
  t.equal(await text(dir, { tailLines: 1 }), 'last\n')
  t.equal(await text(dir, { tailLines: 0 }), '', 'no line is no line')
  t.equal(await text(dir, { limitBytes: 3 }), 'a\nb')
  t.match(await text(dir, { timestamps: true, tailLines: 1 }), /^\d{4}-\d\d-\d\dT\S+Z last\n$/)
  t.equal(await text(dir, { since: '2999-01-01T00:00:00Z' }), '')
})

t.test('a follower gets what is added and ends with the container', async (t) => {
  const dir = await runDir(t)
  const pump = new LogPump(dir)
  await appendFile(`${dir}/stdout`, 'one\n')
  const seen: string[] = []
  const following = (async () => {
    for await (const part of readLog(dir, { ...all, follow: true }, signal)) {
      seen.push(part)
      if (seen.join('').endsWith('one\n')) await appendFile(`${dir}/stdout`, 'two\n')
      if (seen.join('').endsWith('two\n')) await pump.finish()
    }
  })()
  await following
  t.equal(seen.join(''), 'one\ntwo\n')
})

t.test('a log is bounded: one rotated file, and raw output is given back to the disk', async (t) => {
  const dir = await runDir(t)
  const line = `${'y'.repeat(1023)}\n`
  for (let i = 0; i < 3; i++) {
    await appendFile(`${dir}/stdout`, line.repeat(8 * 1024))
    await new LogPump(dir)[Symbol.asyncDispose]()
  }
  await new LogPump(dir).finish()
  const sizes = await Promise.all(['log', 'log.1'].map(async (name) => (await stat(`${dir}/${name}`)).size))
  for (const size of sizes) t.ok(size <= 10.1 * 1024 * 1024, `${size} bytes`)
  t.strictSame((await readdir(dir)).filter((name) => name.startsWith('log.')).sort(), ['log.1', 'log.done'])
  const { size, blocks } = await stat(`${dir}/stdout`)
  t.ok(blocks * 512 < size / 2, `${blocks * 512} of ${size} bytes are held`)
})
