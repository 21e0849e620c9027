import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import t from 'tap'
import { type Figures, untruths } from '../../sandbox/demo/figures.ts'

t.setTimeout(300_000) // the story gives up after 180 s by itself
const skip =
  (process.getuid?.() !== 0 && 'needs root') || (!existsSync('.build/sys.node') && 'needs npm run setup')

t.test('the story of the demo is true', { skip, timeout: 290_000 }, async (t) => {
  const child = spawn('node', ['sandbox/demo/main.ts', '--json', '--name', 'demotest'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, errors]: [string[], string[]] = [[], []]
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()))
  t.teardown(async () => {
    if (child.exitCode !== null) return
    child.kill('SIGTERM') // it takes its cluster down
    await once(child, 'exit')
  })
  const [code] = (await once(child, 'close')) as [number | null]
  const told = out.join('')
  const [json] = told.match(/^{.*}$/m) ?? []
  if (json === undefined) return t.fail(`the story broke off with ${code}: ${errors.join('')}`, { told })
  const figures = JSON.parse(json) as Figures
  // How long it took is this machine's affair, as busy as it is with other tests.
  t.strictSame(untruths({ ...figures, totalMs: 0 }), [], 'every sentence', { figures })
  t.equal(code, untruths(figures).length === 0 ? 0 : 1, 'and the exit status says so')
  t.equal(figures.leftoversAfterDown, 0, 'nothing is left')
})
