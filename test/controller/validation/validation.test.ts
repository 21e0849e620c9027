import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { merged, validatedKinds, validateSpec } from '../../../controller/validation/index.ts'

/** `errors` and `warnings` are the beginnings (or, with `~`, parts) of what is said, in order; absent: nothing is. */
type Case = Readonly<{
  title: string
  spec: unknown
  errors?: readonly string[]
  warnings?: readonly string[]
}>
type File = Readonly<{ kind: string; cases: readonly Case[] }>

const folder = 'test/controller/validation/cases'
const files = readdirSync(folder).map((name) => parse(readFileSync(`${folder}/${name}`, 'utf8')) as File)

t.strictSame(files.map(({ kind }) => kind).sort(), [...validatedKinds].sort(), 'every kind has its cases')

const fits = (said: string, wanted: string) =>
  wanted.includes(' ~ ')
    ? said.startsWith(`${wanted.split(' ~ ')[0]}: `) && said.includes(wanted.split(' ~ ')[1] ?? '')
    : said.startsWith(`${wanted}: `)

for (const { kind, cases } of files)
  t.test(kind, async (t) => {
    const [group = '', name = ''] = kind.split('/')
    for (const { title, spec, errors = [], warnings = [] } of cases) {
      const found = validateSpec(group, name, spec)
      for (const [what, said, wanted] of [
        ['errors', found?.errors ?? [], errors],
        ['warnings', found?.warnings ?? [], warnings],
      ] as const) {
        const isRight = said.length === wanted.length && said.every((one, n) => fits(one, wanted[n] ?? ''))
        t.ok(isRight, `${title}: ${what}`, { said, wanted })
      }
    }
  })

t.test('two readers of one object say of one place what the first one says', async (t) => {
  const [a, b] = [
    { errors: ['spec.x: first'], warnings: ['spec: w'] },
    { errors: ['spec.x: second', 'spec.y: third'], warnings: ['spec: v', 'spec.z: u'] },
  ]
  t.strictSame(merged(a, b), {
    errors: ['spec.x: first', 'spec.y: third'],
    warnings: ['spec: w', 'spec.z: u'],
  })
  t.equal(merged(a, undefined), a)
  t.equal(merged(undefined, b), b)
  t.equal(merged(undefined, undefined), undefined)
})

t.test('whatever a spec is, it is answered, soon and in few words', async (t) => {
  const odd: unknown[] = [
    undefined,
    null,
    5,
    '',
    'x',
    true,
    [],
    [[]],
    { a: { b: {} } },
    { hosts: [null, {}, []] },
  ]
  const bomb = {
    http: Array.from({ length: 9_000 }, () => ({ match: [{ uri: { regex: '(a+)+$'.repeat(20) } }] })),
  }
  for (const one of validatedKinds) {
    const [group = '', kind = ''] = one.split('/')
    for (const spec of [...odd, bomb]) {
      const found = validateSpec(group, kind, spec)
      t.ok(found && found.errors.length <= 32 && found.warnings.length <= 32, one)
      t.ok(JSON.stringify(found).length < 40_000)
    }
  }
})
