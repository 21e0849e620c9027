import { readFileSync } from 'node:fs'
import { glob } from 'node:fs/promises'
import { relative, resolve } from 'node:path'
import t from 'tap'

/** Room → rooms that it may import. This table is the architecture. */
const MAY: Record<string, readonly string[]> = {
  'lib/base': [],
  'lib/wire': [],
  'lib/telemetry': ['lib/base'],
  'lib/linux': ['lib/base'],
  'lib/identity': ['lib/base', 'lib/wire', 'lib/telemetry'],
  'lib/policy': ['lib/base', 'lib/wire', 'lib/identity'],
  'lib/xds': ['lib/base', 'lib/wire', 'lib/telemetry'],
  'lib/mesh': ['lib/base', 'lib/wire', 'lib/identity', 'lib/policy', 'lib/xds'],
  'lib/routes': ['lib/base'],
  'lib/hbone': ['lib/base', 'lib/identity', 'lib/telemetry'],
  'lib/http': ['lib/base', 'lib/hbone', 'lib/telemetry'],
  'lib/kube': ['lib/base', 'lib/telemetry'],
  ztunnel: [
    'lib/base',
    'lib/wire',
    'lib/telemetry',
    'lib/linux',
    'lib/identity',
    'lib/policy',
    'lib/xds',
    'lib/mesh',
    'lib/hbone',
  ],
  waypoint: [
    'lib/base',
    'lib/wire',
    'lib/telemetry',
    'lib/linux',
    'lib/identity',
    'lib/policy',
    'lib/xds',
    'lib/mesh',
    'lib/routes',
    'lib/hbone',
    'lib/http',
  ],
  controller: [
    'lib/base',
    'lib/wire',
    'lib/telemetry',
    'lib/identity',
    'lib/policy',
    'lib/routes',
    'lib/kube',
  ],
  cni: ['lib/base', 'lib/wire', 'lib/telemetry', 'lib/linux', 'lib/kube'],
  sandbox: ['lib/base', 'lib/telemetry', 'lib/linux', 'lib/identity', 'lib/kube'],
  bench: [
    'lib/base',
    'lib/wire',
    'lib/telemetry',
    'lib/linux',
    'lib/identity',
    'lib/policy',
    'lib/routes',
    'lib/hbone',
    'lib/http',
    'lib/kube',
    'controller',
    'waypoint',
    'sandbox',
  ],
}

/** Parts of a component → parts of the same component that it may import. Parts not named are free. */
const INSIDE: Record<string, readonly string[]> = {
  'ztunnel/state': [],
  'ztunnel/proxy': ['ztunnel/state'],
  'ztunnel/dns': ['ztunnel/state'],
  'controller/collections': [],
  'controller/xds': [],
  'controller/ca': [],
  'controller/reconcile': ['controller/collections'],
  'controller/validation': [],
  'controller/routes': ['controller/collections', 'controller/reconcile', 'controller/validation'],
  'controller/gateways': ['controller/collections', 'controller/reconcile'],
  'controller/telemetry': ['controller/collections', 'controller/routes', 'controller/validation'],
  'waypoint/target': [],
  'waypoint/route': [],
  'waypoint/upstream': [],
  'waypoint/telemetry': [],
  'waypoint/phase': [
    'waypoint/target',
    'waypoint/route',
    'waypoint/upstream',
    'waypoint/telemetry',
    'waypoint/capacity.ts',
    'waypoint/load.ts',
    'waypoint/permits.ts',
  ],
  'cni/rules': [],
  'sandbox/api': ['sandbox/config.ts'],
  'sandbox/controllers': ['sandbox/config.ts'],
  'sandbox/node-services': ['sandbox/config.ts'],
}

const imports = (JSON.parse(readFileSync('package.json', 'utf8')) as { imports: Record<string, string> })
  .imports
const under = (rooms: Record<string, unknown>) => (file: string) =>
  Object.keys(rooms).find((room) => file === room || file.startsWith(`${room}/`))
const roomOf = under(MAY)
const partOf = under(INSIDE)
const targetOf = (file: string, spec: string) =>
  spec.startsWith('#')
    ? imports[spec]?.slice(2)
    : spec.startsWith('.')
      ? relative('.', resolve(file, '..', spec))
      : undefined

const importPattern = /(?:from|import)\s*\(?\s*'([^']+)'/g

t.test('every import follows the table of rooms', async (t) => {
  let seen = 0
  for await (const file of glob('{lib,ztunnel,waypoint,controller,cni,sandbox,bench}/**/*.ts')) {
    const from = roomOf(file)
    t.ok(from, `${file} is in a room of the table`)
    for (const [, spec = ''] of readFileSync(file, 'utf8').matchAll(importPattern)) {
      if (spec.startsWith('#')) t.ok(imports[spec], `${file}: ${spec} is a front door`)
      const target = targetOf(file, spec)
      const to = target && roomOf(target)
      if (!from || !target || !to) continue
      seen++
      if (to === from) {
        const part = partOf(file)
        const inner = INSIDE[part ?? ''] ?? []
        const free = !part || target.startsWith(`${part}/`) || inner.some((other) => target.startsWith(other))
        if (!free) t.fail(`${file} may not import ${target}: ${part} keeps to itself`)
        continue
      }
      if (!MAY[from]?.includes(to)) t.fail(`${file} may not import ${to}`)
      if (to.startsWith('lib/') && !spec.startsWith('#')) t.fail(`${file} enters ${to} past its front door`)
    }
  }
  t.ok(seen > 50, `the walk saw the tree (${seen} imports)`)
})

t.test('every shared room has a front door and a README of at most 40 lines', async (t) => {
  for (const room of Object.keys(MAY).filter((name) => name.startsWith('lib/'))) {
    t.ok(readFileSync(`${room}/index.ts`, 'utf8'), room)
    t.ok(readFileSync(`${room}/README.md`, 'utf8').split('\n').length <= 41, `${room}/README.md is short`)
  }
})
