import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { batches, textOf } from './line-writer.ts'

const writer = import.meta.resolve('./line-writer.ts').replace('file://', '')

t.test(
  'a file has all lines in their order, however many come at once, to the last before the end',
  async (t) => {
    const path = join(t.testdir(), 'log')
    const file = openSync(path, 'w')
    const child = spawn(process.execPath, [writer], { stdio: ['ignore', file, 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    closeSync(file)
    const [code] = await once(child, 'exit')
    t.equal(code, 0)
    const total = batches.reduce((sum: number, count) => sum + count, 0)
    const want = Array.from({ length: total }, (_, n) => textOf(n))
    t.strictSame(readFileSync(path, 'utf8').split('\n'), [...want, 'one and the same', 'last', ''])
  },
)
