import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { followResolvConf, parseResolvConf } from '../../../ztunnel/dns/index.ts'

t.test('nameservers and search list, as the C library reads them', async (t) => {
  const text = `# a comment
nameserver 10.96.0.10
nameserver fd00:10:96::a
nameserver nonsense
 nameserver   192.0.2.1
nameserver 192.0.2.2
domain old.example
search Shop.svc.cluster.local. svc.cluster.local cluster.local
options ndots:5`
  t.same(parseResolvConf(text), {
    nameservers: ['10.96.0.10', 'fd00:10:96::a', '192.0.2.1'].map((address) => ({ address, port: 53 })),
    search: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
  })
  t.same(parseResolvConf(''), { nameservers: [], search: [] })
})

t.test('a file that changes is read again; one that is away for a moment is remembered', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'lateen-resolv-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'resolv.conf')
  let now = 0
  const conf = followResolvConf(path, () => now)
  const servers = () => conf().nameservers.map(({ address }) => String(address))
  t.same(servers(), [], 'no file yet')
  writeFileSync(path, 'nameserver 10.0.0.1\n')
  t.same(servers(), [], 'not looked at more than once a second')
  now += 1_001
  t.same(servers(), ['10.0.0.1'])
  renameSync(path, `${path}.away`)
  now += 1_001
  t.same(servers(), ['10.0.0.1'])
  writeFileSync(path, 'nameserver 10.0.0.2\n')
  now += 1_001
  t.same(servers(), ['10.0.0.2'])
  writeFileSync(path, Buffer.alloc(100_000, '#'))
  now += 1_001
  t.same(servers(), ['10.0.0.2'], 'what cannot be one is not read')
})
