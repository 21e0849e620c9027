/**
 * Kubernetes objects in, Address resources out, as they are on the wire, and what the objects' status says. The cases are the `*.yaml` files here; read
 * `usual.yaml` first. Each case names every resource that its inputs give: what is not written must not be there.
 */
import { readFileSync, readdirSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { type Case, golden, overlay, policiesIn, rendered, told, type Usual } from './render.ts'

const read = (file: string): unknown =>
  parse(readFileSync(`${import.meta.dirname}/${file}`, 'utf8'), { merge: true })
const usual = read('usual.yaml') as Usual
const files = readdirSync(import.meta.dirname).filter((f) => f.endsWith('.yaml') && f !== 'usual.yaml')
let count = 0
for (const file of files) {
  const { shows, cases } = read(file) as { shows: 'workloads' | 'services' | 'all'; cases: readonly Case[] }
  for (const one of cases) {
    count++
    t.test(`${file}: ${one.title}`, async (t) => {
      const mesh = golden(one, usual)
      const got = rendered(mesh, one.shows ?? shows)
      const want = Object.fromEntries(
        Object.entries(one.want ?? {}).map(([name, fields]) => [
          name,
          overlay(usual.want[sourceOf(name)], fields),
        ]),
      )
      for (const [name, row] of Object.entries(got)) if (!want[name]?.['aliases']) delete row['aliases']
      t.strictSame(got, want)
      for (const [object, conditions] of Object.entries(one.conditions ?? {})) {
        // Of a condition only as much as the case tells.
        const held = told(mesh, object).map((text, i) => text.slice(0, conditions[i]?.length ?? undefined))
        t.strictSame(held, conditions, object)
      }
      if (one.policies) t.strictSame(policiesIn(mesh), one.policies)
    })
  }
}
t.ok(count >= 200, `${count} cases`)

function sourceOf(name: string): string {
  const [, group = '', kind = ''] = name.split('/')
  return kind === '' || name.split('/').length < 4 ? 'Service' : group === '' ? 'Pod' : kind
}
