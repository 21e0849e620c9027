import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { writeAtomically } from '../../../sandbox/node/volumes/atomic-dir.ts'
import { findHostPath, machinePath } from '../../../sandbox/node/volumes/host-path.ts'
import type { Contentful } from '../../../sandbox/node/volumes/payload.ts'
import { mountsOf, prepareVolumes } from '../../../sandbox/node/volumes/volumes.ts'
import { podOf } from './pods.ts'

async function scratch(test: { teardown(free: () => unknown): void }) {
  const dir = await mkdtemp(join(tmpdir(), 'lateen-volumes-'))
  test.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}
const files = (entries: Record<string, string>, mode = 0o644) =>
  new Map(Object.entries(entries).map(([path, text]) => [path, { content: Buffer.from(text), mode }]))
const contents = (entries: Record<string, Record<string, string>>): Contentful => {
  const get = async (kind: string, name: string) => {
    const found = entries[`${kind}/${name}`]
    return found && new Map(Object.entries(found).map(([key, text]) => [key, Buffer.from(text)]))
  }
  return {
    configMap: (_, name) => get('configmap', name),
    secret: (_, name) => get('secret', name),
    token: async (pod, { audience }) => `token of ${pod.spec.serviceAccountName} for ${audience}`,
  }
}
const facts = { podIps: ['10.244.1.2'], hostIps: ['10.77.0.11'] }

t.test('a volume is replaced as a whole: names lead through one link that is swapped', async (t) => {
  const dir = await scratch(t)
  t.equal(await writeAtomically(dir, files({ a: '1', 'sub/b': '2' })), true)
  t.equal(await readlink(`${dir}/a`), '..data/a')
  const generation = await readlink(`${dir}/..data`)
  t.equal(await writeAtomically(dir, files({ a: '1', 'sub/b': '2' })), false, 'nothing changed, nothing done')
  t.equal(await readlink(`${dir}/..data`), generation)
  t.equal(await writeAtomically(dir, files({ a: '3' })), true)
  t.equal(await readFile(`${dir}/a`, 'utf8'), '3')
  t.strictSame(
    (await readdir(dir)).filter((name) => !name.startsWith('..')),
    ['a'],
    'what is gone is gone',
  )
  t.equal(
    (await readdir(dir)).filter((name) => name.startsWith('..v')).length,
    1,
    'old generations are removed',
  )
})

t.test('a path that leaves the volume is refused', async (t) => {
  const dir = await scratch(t)
  for (const path of ['../x', '/x', 'a/../../x'])
    await t.rejects(writeAtomically(dir, files({ [path]: '1' })), { code: 'bad-config' })
})

t.test('volumes of every kind', async (t) => {
  const dir = await scratch(t)
  const pod = podOf(
    {
      serviceAccountName: 'sa',
      volumes: [
        { name: 'empty', emptyDir: {} },
        { name: 'cm', configMap: { name: 'cm', items: [{ key: 'a', path: 'deep/a' }] } },
        { name: 'sec', secret: { secretName: 'sec', defaultMode: 0o400 } },
        {
          name: 'down',
          downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] },
        },
        { name: 'none', configMap: { name: 'absent', optional: true } },
        {
          name: 'all',
          projected: {
            sources: [
              { serviceAccountToken: { path: 'token', audience: 'istio-ca' } },
              { configMap: { name: 'cm' } },
              { secret: { name: 'sec' } },
            ],
          },
        },
      ],
    },
    { labels: { b: '2', a: '1' } },
  )
  const from = contents({ 'configmap/cm': { a: 'A', b: 'B' }, 'secret/sec': { k: 'hidden' } })
  const prepared = await prepareVolumes({ pod, facts, dir, nodeRoot: `${dir}/root`, contents: from })
  if (prepared.kind !== 'ready') return t.fail(prepared.message)
  const read = (path: string) => readFile(`${dir}/${path}`, 'utf8')
  t.equal(await read('cm/deep/a'), 'A')
  t.equal((await stat(`${dir}/sec/k`)).mode & 0o777, 0o400)
  t.equal(await read('down/labels'), 'a="1"\nb="2"')
  t.equal(await read('all/token'), 'token of sa for istio-ca')
  t.equal(await read('all/k'), 'hidden')
  t.strictSame((await readdir(`${dir}/all`)).filter((name) => !name.startsWith('..')).sort(), [
    'a',
    'b',
    'k',
    'token',
  ])
})

const waiting: [string, Record<string, unknown>, RegExp][] = [
  ['a ConfigMap that is missing', { configMap: { name: 'no' } }, /configmap "no" not found/],
  ['a Secret that is missing', { secret: { secretName: 'no' } }, /secret "no" not found/],
  [
    'a key that is missing',
    { configMap: { name: 'cm', items: [{ key: 'no', path: 'x' }] } },
    /non-existent configmap key/,
  ],
  ['a hostPath of another type', { hostPath: { path: '/nope', type: 'Socket' } }, /not a Socket/],
  ['a kind that the sandbox does not have', { nfs: { server: 'x' } }, /no such kind of volume: nfs/],
]
for (const [name, volume, message] of waiting) {
  t.test(`${name} keeps the pod waiting, with a reason`, async (t) => {
    const dir = await scratch(t)
    const pod = podOf({ volumes: [{ name: 'v', ...volume }] })
    const outcome = await prepareVolumes({
      pod,
      facts,
      dir,
      nodeRoot: dir,
      contents: contents({ 'configmap/cm': {} }),
    })
    t.match(outcome, { kind: 'waiting', message })
  })
}

t.test("hostPaths lie below the node's root, only /proc is the kernel's own", async (t) => {
  t.equal(machinePath('/n', '/var/run/x/'), '/n/var/run/x')
  t.equal(machinePath('/n', '/'), '/n')
  t.equal(machinePath('/n', '/../../etc'), '/n/etc')
  t.equal(machinePath('/n', '/proc'), '/proc')
  t.equal(machinePath('/n', '/process'), '/n/process')
  const dir = await scratch(t)
  t.match(await findHostPath(dir, { path: '/a/b', type: 'DirectoryOrCreate' }), { kind: 'found' })
  t.match(await findHostPath(dir, { path: '/a/b', type: 'File' }), { kind: 'missing' })
  t.match(await findHostPath(dir, { path: '/f', type: 'FileOrCreate' }), { kind: 'found' })
})

t.test('no link leads a hostPath or a subPath out of its place, and nothing is made outside', async (t) => {
  const dir = await scratch(t)
  const [node, outside] = [`${dir}/node`, `${dir}/outside`]
  await mkdir(node)
  await mkdir(outside)
  await symlink(outside, `${node}/link`)
  await symlink(`${outside}/new`, `${node}/dangling`)
  const out = { kind: 'missing', message: /leads out of the node/ }
  for (const path of ['/link', '/link/new', '/dangling', '/dangling/x', '/proc/1/root', '/proc/self/cwd/x'])
    for (const type of ['', 'DirectoryOrCreate', 'FileOrCreate', 'Directory'])
      t.match(await findHostPath(node, { path, type }), out, `${path} ${type}`)
  t.match(await findHostPath(node, { path: '/proc', type: 'Directory' }), { kind: 'found', source: '/proc' })

  const volumes = new Map([['v', { source: node, readOnly: false }]])
  for (const subPath of ['link', 'link/new', 'dangling', 'dangling/x', '../outside']) {
    const volumeMounts = [{ name: 'v', mountPath: '/x', subPath }]
    const [container] = podOf({ containers: [{ name: 'a', volumeMounts }] }).spec.containers
    if (!container) return t.fail('no container')
    t.match(await mountsOf(container, volumes, {}, 1), { kind: 'invalid', message: /leaves the volume/ })
  }
  t.strictSame(await readdir(outside), [])
})

t.test('nothing is mounted where the machine is while a container is built', async (t) => {
  const dir = await scratch(t)
  for (const mountPath of ['/.machine', '/x/../.machine/etc']) {
    const [container] = podOf({ containers: [{ name: 'a', volumeMounts: [{ name: 'v', mountPath }] }] }).spec
      .containers
    if (!container) return t.fail('no container')
    const volumes = new Map([['v', { source: dir, readOnly: false }]])
    t.match(await mountsOf(container, volumes, {}, 1), { kind: 'invalid', message: /not available/ })
  }
})

t.test('an empty directory is any user’s, and stays as its users leave it', async (t) => {
  const dir = await scratch(t)
  const pod = podOf({ volumes: [{ name: 'e', emptyDir: {} }] })
  const prepare = () => prepareVolumes({ pod, facts, dir, nodeRoot: dir, contents: contents({}) })
  await prepare()
  t.equal((await stat(`${dir}/e`)).mode & 0o777, 0o777)
  await chmod(`${dir}/e`, 0o700)
  await prepare()
  t.equal((await stat(`${dir}/e`)).mode & 0o777, 0o700)
})

t.test('a writer that was killed halfway does not keep the next from writing', async (t) => {
  const dir = await scratch(t)
  await symlink('..vgone', `${dir}/..data.tmp`)
  t.ok(await writeAtomically(dir, files({ a: '1' })))
  t.equal(await readFile(`${dir}/a`, 'utf8'), '1')
})

t.test('mounts: outer ones first, process 1 is the node, a subPath never leaves its volume', async (t) => {
  const dir = await scratch(t)
  await mkdir(`${dir}/in`)
  await writeFile(`${dir}/in/file`, '')
  await symlink('/etc', `${dir}/out`)
  const volumes = new Map([
    ['v', { source: dir, readOnly: false }],
    ['proc', { source: '/proc', readOnly: true }],
  ])
  const mounts = async (...volumeMounts: Record<string, unknown>[]) => {
    const [container] = podOf({ containers: [{ name: 'a', volumeMounts }] }).spec.containers
    return container ? mountsOf(container, volumes, { N: 'in' }, 77) : undefined
  }
  const outcome = await mounts(
    { name: 'v', mountPath: '/a/b/c', subPathExpr: '$(N)' },
    { name: 'v', mountPath: '/a', readOnly: true },
    { name: 'v', mountPath: '/f', subPath: 'in/file' },
    { name: 'proc', mountPath: '/host/proc' },
  )
  t.match(outcome, {
    mounts: [
      { target: '/a', readOnly: true, kind: 'dir' },
      { target: '/f', kind: 'file' },
      { target: '/host/proc', readOnly: true },
      { target: '/a/b/c', source: `${dir}/in` },
      { target: '/host/proc/1', source: '/proc/77' },
    ],
  })
  for (const subPath of ['../x', 'out'])
    t.match(await mounts({ name: 'v', mountPath: '/x', subPath }), {
      kind: 'invalid',
      message: /leaves the volume/,
    })
  t.match(await mounts({ name: 'w', mountPath: '/x' }), { kind: 'invalid', message: /names no volume/ })
})
