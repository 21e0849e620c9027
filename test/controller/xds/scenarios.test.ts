import { glob, readFile, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import t from 'tap'
import { play } from './scenario.ts'

// Recorded: what came of each command stands below it. `REWRITE=1` records anew; read the difference before you commit it.
const folder = new URL('scenarios/', import.meta.url)

for await (const path of glob('*.txt', { cwd: folder })) {
  t.test(`the recorded scenario ${basename(path, '.txt')} goes as recorded`, async (t) => {
    const recorded = await readFile(new URL(path, folder), 'utf8')
    const played = play(recorded)
    if (process.env.REWRITE) await writeFile(new URL(path, folder), played)
    else t.equal(played, recorded)
  })
}
