import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { validatedKinds, validateSpec } from '../../../controller/validation/index.ts'

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
