import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const main = fileURLToPath(import.meta.resolve('../../waypoint/main.ts'))
/** Says at its end what V8 was told: a number that is another for other flags. */
const probe =
  "data:text/javascript,import { cachedDataVersionTag } from 'node:v8'; process.on('exit', () => console.log('flags', cachedDataVersionTag()))"

const run = (...args: readonly string[]) => {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--import', probe, ...args], {
    encoding: 'utf8',
    env: { ...process.env, XDS_ADDRESS: 'no address' },
  })
  return { flags: stdout.match(/^flags \d+$/m)?.[0] ?? 'not told', stderr, status }
}

t.test('V8 is told to make nothing old from the start, before anything else', async (t) => {
  const waypoint = run(main)
  t.equal(waypoint.status, 1, 'a setting that cannot be read ends it')
  t.match(waypoint.stderr, /^waypoint: .*XDS_ADDRESS/)
  const told = run('-e', `require('v8').setFlagsFromString('--no-allocation-site-pretenuring')`)
  const untold = run('-e', '')
  t.match(told.flags, /^flags/)
  t.not(told.flags, untold.flags, 'V8 knows the flag')
  t.equal(waypoint.flags, told.flags)
})
