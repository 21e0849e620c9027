/**
 * Runs every test and adds up the figures: first those that need no cluster, then, on one sandbox that it brings up
 * and takes down, those of test/e2e. `--no-e2e` leaves the sandbox out. Ends with `N passed, N failed[, N skipped]`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { glob } from 'node:fs/promises'

type Figures = { pass: number; fail: number; skip: number }
type Outcome = { figures: Figures; failures: readonly string[] }

const outputFolder = '.build/test'
/** For one file; those of test/e2e wait for rollouts and restarts. */
const timeoutSeconds = 400
const sandboxName = 'e2e'
/** Of the account of what failed, which comes last: whoever keeps only the end of the output still has it. */
const maxFailureLines = 300
const out = (line: string) => process.stdout.write(`${line}\n`)

async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<number> {
  const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, ...env } })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

async function find(patterns: readonly string[], exclude: readonly string[] = []): Promise<string[]> {
  const files: string[] = []
  for (const pattern of patterns) for await (const file of glob(pattern)) files.push(file)
  return files.filter((file) => !exclude.some((folder) => file.startsWith(folder))).toSorted()
}

/** tap's own totals: `# { total: 66, pass: 64, fail: 1, skip: 1 }` in the last lines of the TAP stream. */
function totals(tapFile: string): Figures {
  const summary =
    readFileSync(tapFile, 'utf8')
      .match(/^# \{ total: \d+.*\}$/gm)
      ?.at(-1) ?? ''
  const figure = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0)
  return { pass: figure('pass'), fail: figure('fail') + figure('todo'), skip: figure('skip') }
}

/** Every failed assertion with its own account of why, under its file; a failed parent says nothing that its children did not. */
function failedAssertions(tapFile: string): string[] {
  const indent = (line: string) => line.search(/\S/)
  const lines = readFileSync(tapFile, 'utf8').split('\n')
  const kept: string[] = []
  let file = ''
  let deepest = -1
  for (const [i, line] of lines.entries()) {
    if (line.startsWith('# Subtest: ')) {
      file = line
      deepest = -1
    }
    if (!/^\s*(not ok|Bail out!)/.test(line) || / # (SKIP|TODO)/.test(line)) continue
    const isParent = indent(line) < deepest
    deepest = indent(line)
    if (isParent) continue
    const end = lines.findIndex((l, at) => at > i && l.trim() === '...' && indent(l) === indent(line) + 2)
    const explained = lines[i + 1]?.trim() === '---' && end > 0
    kept.push(file, ...(explained ? lines.slice(i, end) : [line]))
  }
  return kept
}

async function suite(
  name: string,
  files: readonly string[],
  jobs: number,
  env: Record<string, string>,
): Promise<Outcome> {
  const tapFile = `${outputFolder}/${name}.tap`
  if (files.length === 0) throw new Error(`no tests found for ${name}`)
  out(`\n# ${name}: ${files.length} files`)
  const args = [
    '--reporter=min',
    `--jobs=${jobs}`,
    `--timeout=${timeoutSeconds}`,
    `--output-file=${tapFile}`,
    `--node-arg=--import=${import.meta.resolve('./linger.ts')}`,
    ...files,
  ]
  const code = await run('tap', args, env)
  const figures = totals(tapFile)
  // A suite that ended badly without a failed assertion (a crash, nothing run) still counts as a failure.
  if ((code !== 0 && figures.fail === 0) || figures.pass === 0) figures.fail++
  return { figures, failures: figures.fail > 0 ? failedAssertions(tapFile) : [] }
}

const noneRan = (figures: Partial<Figures>): Outcome => ({
  figures: { pass: 0, fail: 0, skip: 0, ...figures },
  failures: [],
})

async function endToEnd(files: readonly string[]): Promise<Outcome> {
  if (process.getuid?.() !== 0) {
    out(`\n# e2e: ${files.length} files skipped, the sandbox needs root`)
    return noneRan({ skip: files.length })
  }
  const sandbox = (...args: string[]) => run('node', ['sandbox/main.ts', ...args, '--name', sandboxName])
  try {
    if ((await sandbox('up', '--fresh')) !== 0) return noneRan({ fail: 1 })
    if ((await run('node', ['sandbox/demo/install.ts', '--name', sandboxName])) !== 0)
      return noneRan({ fail: 1 })
    const env = { KUBECONFIG: `/var/lib/lateen/${sandboxName}/kubeconfig`, LATEEN_SANDBOX: sandboxName }
    return await suite('e2e', files, 1, env)
  } finally {
    await sandbox('down', '--purge')
  }
}

rmSync(outputFolder, { recursive: true, force: true })
mkdirSync(outputFolder, { recursive: true })
const units = await find(['test/**/*.test.ts'], ['test/e2e/', 'test/kind/'])
const results = [await suite('unit', units, 2, {})]
if (!process.argv.includes('--no-e2e')) results.push(await endToEnd(await find(['test/e2e/*.test.ts'])))

const sum = (key: keyof Figures) => results.reduce((total, { figures }) => total + figures[key], 0)
const failures = results.flatMap((outcome) => outcome.failures)
if (failures.length > 0) out(`\n# what failed\n${failures.slice(0, maxFailureLines).join('\n')}`)
const skipped = sum('skip') > 0 ? `, ${sum('skip')} skipped` : ''
out(`\n${sum('pass')} passed, ${sum('fail')} failed${skipped}`)
process.exitCode = sum('fail') > 0 ? 1 : 0
