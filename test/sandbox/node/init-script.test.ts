import { execFileSync } from 'node:child_process'
import t from 'tap'
import {
  asUser,
  type ContainerPlan,
  initScript,
  shimScript,
} from '../../../sandbox/node/runtime/init-script.ts'
import { identify, isAlive, parseStat } from '../../../sandbox/node/runtime/process.ts'

const plan: ContainerPlan = {
  dir: '/run/x/containers/app/0',
  netns: '/run/x/netns/a b',
  hostname: 'pod',
  processes: 'own',
  command: ['sh', '-c', "echo 'hi'; $(reboot)"],
  env: { A: '$(id) `id` "x"' },
  workingDir: '/w',
  mounts: [{ source: '/s', target: '/t', kind: 'dir', readOnly: true, propagation: 'private' }],
  user: { uid: 5, gid: 6, groups: [7, 8] },
  capabilities: ['net_raw'],
  readOnlyRoot: true,
}

t.test('what a pod says is never shell to us', async (t) => {
  const last =
    initScript(plan)
      .trim()
      .split('\n')
      .at(-1)
      ?.replace(/^exec /, '') ?? ''
  const words = execFileSync('sh', ['-c', `for w in ${last}; do printf '%s\\0' "$w"; done`], {
    encoding: 'utf8',
  })
  t.strictSame(words.split('\0').slice(0, -1), asUser(plan))
  t.match(shimScript(plan), "--net='/run/x/netns/a b'")
  t.match(shimScript(plan), 'unshare --pid')
  t.notMatch(shimScript({ ...plan, processes: 'host' }), '--pid')
})

t.test('user, groups and rights', async (t) => {
  const words = asUser(plan)
  t.match(
    words.join(' '),
    '--reuid=5 --regid=6 --groups=7,8 --bounding-set=-all,+net_raw --inh-caps=-all env -i --chdir=/w --',
  )
  const root = asUser({ ...plan, user: { uid: 0, gid: 0, groups: [] }, capabilities: 'all' })
  t.notOk(root.some((word) => word.startsWith('--reuid') || word.startsWith('--bounding')))
})

t.test('a variable named like an option of env is a variable', async (t) => {
  const words = asUser({ ...plan, workingDir: '/', env: { '-S': 'false' }, command: ['printenv'] })
  const [program = '', ...args] = words.slice(words.indexOf('env'))
  t.equal(execFileSync(program, args, { encoding: 'utf8' }), '-S=false\n')
})

t.test('the root is left before anything of the pod is mounted, and made read-only last', async (t) => {
  const lines = initScript(plan).split('\n')
  const at = (text: string) => lines.findIndex((line) => line.includes(text))
  t.ok(at('pivot_root') < at('/.machine/s'))
  t.ok(at('/.machine/s') < at('umount -l /.machine'))
  t.ok(at('umount -l /.machine') < lines.lastIndexOf('mount -o remount,bind,ro /'))
  t.equal(lines[0], 'set -e')
})

t.test('a process is itself only with the same start time', async (t) => {
  const self = identify(process.pid)
  t.ok(self && isAlive(self))
  t.notOk(isAlive({ pid: process.pid, startTime: '1' }))
  t.notOk(isAlive({ pid: 2 ** 22, startTime: '1' }))
  const fields = ['S', ...Array.from({ length: 18 }, (_, i) => String(i)), '777', 'x'].join(' ')
  t.strictSame(parseStat(`12 (a) b (c) ${fields}`), { pid: 12, startTime: '777' })
  t.equal(parseStat('garbage'), undefined)
})
