import t from 'tap'
import { aliasesOf, wildcardsOf } from '../../../ztunnel/dns/aliases.ts'

const place = { namespace: 'shop', domain: 'cluster.local' }
const shown = (name: string, search?: readonly string[]) =>
  aliasesOf(name, { ...place, search }).map(({ name: alias, cname }) =>
    cname ? `${alias} (${cname})` : alias,
  )

const cases: readonly (readonly [string, readonly string[]])[] = [
  ['web', ['web', 'web.shop.svc.cluster.local']],
  ['web.bank', ['web.bank', 'web.bank.svc.cluster.local', 'web.bank.shop.svc.cluster.local']],
  ['web.bank.svc', ['web.bank.svc', 'web.bank.svc.cluster.local', 'web.bank.svc.svc.cluster.local']],
  ['db-0.web.bank', ['db-0.web.bank', 'db-0.web.bank.svc.cluster.local']],
  ['db-0.web.bank.svc', ['db-0.web.bank.svc', 'db-0.web.bank.svc.cluster.local']],
  ['a.b.c.example.com', ['a.b.c.example.com']],
  ['', ['']],
]
for (const [name, want] of cases)
  t.test(`${JSON.stringify(name)} may stand for ${want.length} names`, async (t) => t.same(shown(name), want))

t.test('a search domain is taken off, and what is left is expanded again', async (t) => {
  t.same(shown('example.com.shop.svc.cluster.local'), [
    'example.com.shop.svc.cluster.local',
    'example.com (example.com)',
    'example.com.svc.cluster.local (example.com)',
    'example.com.shop.svc.cluster.local (example.com)',
    'example.com.shop (example.com.shop)',
    'example.com.shop.svc.cluster.local (example.com.shop)',
    'example.com.shop.svc (example.com.shop.svc)',
    'example.com.shop.svc.cluster.local (example.com.shop.svc)',
  ])
  t.same(shown('web.cluster.local'), [
    'web.cluster.local',
    'web.cluster.local.svc.cluster.local',
    'web (web)',
    'web.shop.svc.cluster.local (web)',
  ])
  t.same(shown('a.corp', ['corp']), [
    'a.corp',
    'a.corp.svc.cluster.local',
    'a.corp.shop.svc.cluster.local',
    'a (a)',
    'a.shop.svc.cluster.local (a)',
  ])
})

t.test('wildcards, the longest first', async (t) => {
  t.same(wildcardsOf('www.example.com'), ['*.example.com', '*.com'])
  t.same(wildcardsOf('com'), [])
  const deep = Array.from({ length: 120 }, () => 'a').join('.')
  t.equal(wildcardsOf(deep).length, 16, 'a deep name costs no more than this')
  t.equal(wildcardsOf(deep).at(-1), '*.a')
})
