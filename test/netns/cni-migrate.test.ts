import { execFileSync } from 'node:child_process'
import t from 'tap'
import { migrateRequests } from '../../cni/rules/index.ts'
import { root, World } from './cni-world.ts'

const skip = !root && 'needs root'
const setting = '/proc/sys/net/ipv4/tcp_migrate_req'

t.test('connection requests migrate in a captured pod, and in no other namespace', { skip }, async (t) => {
  using world = new World('cni-migr')
  const signal = AbortSignal.timeout(20_000)
  const value = (where: string) => world.run(where, 'cat', setting).trim()
  const ours = execFileSync('cat', [setting]).toString()
  t.ok(await migrateRequests(world.a.netns, true, signal))
  t.equal(value('a'), '1')
  t.equal(value('b'), '0')
  t.equal(execFileSync('cat', [setting]).toString(), ours)
  t.ok(await migrateRequests(world.a.netns, true, signal), 'again')
  t.ok(await migrateRequests(world.a.netns, false, signal))
  t.equal(value('a'), '0')
})

t.test('also from a container, where /proc/sys is read-only', { skip }, async (t) => {
  using world = new World('cni-migro')
  const program = `
    import { openNetns } from '#linux'
    import { migrateRequests } from './cni/rules/index.ts'
    using netns = openNetns(process.argv[1])
    console.log(await migrateRequests(netns, true, AbortSignal.timeout(10_000)))`
  const script = 'mount -o bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"'
  const node = [process.execPath, '--input-type=module-typescript', '-e', program, '--']
  const args = ['--mount', '--', 'sh', '-c', script, 'sh', ...node, `/proc/self/fd/3`]
  const said = execFileSync('unshare', args, { stdio: ['ignore', 'pipe', 'inherit', world.a.netns.fd] })
  t.equal(said.toString(), 'true\n')
  t.equal(world.run('a', 'cat', setting).trim(), '1')
})
