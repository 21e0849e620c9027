import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { findLeftovers, partVariable, run, sweep } from '../../../sandbox/net/index.ts'

const config = { name: 'swp', runDir: '/tmp/lateen-sweep-test-does-not-exist' }

t.test('a process that carries the mark of the instance is found and ended; others are not', async (t) => {
  const start = (mark: string) =>
    spawn('sleep', ['60'], { env: { PATH: '/usr/bin:/bin', [partVariable]: mark } })
  const ours = start('swp/api')
  const others = start('swp2/api')
  t.teardown(() => others.kill('SIGKILL'))
  await Promise.all([once(ours, 'spawn'), once(others, 'spawn')])
  const deadline = Date.now() + 20_000
  while (findLeftovers(config).processes.length === 0 && Date.now() < deadline);
  t.strictSame(
    findLeftovers(config).processes.map(({ pid }) => pid),
    [ours.pid],
  )
  const ended = once(ours, 'exit')
  await sweep(config)
  await ended
  t.strictSame(findLeftovers(config), { processes: [], mounts: [], netns: [], directories: [] })
  t.equal(others.exitCode, null)
})

t.test('a program that is too slow is ended and reported', async (t) => {
  await t.rejects(run(['sleep', '60'], { timeoutMs: 50 }), {
    code: 'timeout',
    message: 'sleep took longer than 50 ms',
  })
  await t.rejects(run(['/no/such/program']), { code: 'syscall-failed' })
  const abort = new AbortController()
  const running = run(['sleep', '60'], { signal: abort.signal })
  abort.abort(new Error('enough'))
  await t.rejects(running, { message: 'enough' })
})
