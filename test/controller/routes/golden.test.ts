/**
 * Routes of the Gateway API in; what waypoints obey and what status says out. The cases are the files in golden/: read
 * `usual.yaml` first. A case says all of it: ports and routes that it does not name are as without routes.
 */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import {
  answerTo,
  asRead,
  callsText,
  type Case,
  compiled,
  messageOfCondition,
  protocolsText,
  ruleNames,
  rulesText,
  statusText,
  type Usual,
} from './render.ts'

t.setTimeout(300_000) // more than a hundred meshes, on a machine that may be slow

const folder = `${import.meta.dirname}/golden`
const read = (file: string): unknown => parse(readFileSync(`${folder}/${file}`, 'utf8'), { merge: true })
const usual = read('usual.yaml') as Usual
/** Of what the Gateway API has conditions of routes say (l7 1.3), all that there can be about a parent that is a service. */
const reasons = [
  'Accepted=False/Conflicted',
  'Accepted=False/IncompatibleFilters',
  'Accepted=False/NoMatchingParent',
  'Accepted=False/NotAllowedByListeners',
  'Accepted=False/UnsupportedValue',
  'Accepted=True/Accepted',
  'PartiallyInvalid=True/UnsupportedValue',
  'ResolvedRefs=False/BackendNotFound',
  'ResolvedRefs=False/InvalidKind',
  'ResolvedRefs=False/RefNotPermitted',
  'ResolvedRefs=False/UnsupportedProtocol',
  'ResolvedRefs=True/ResolvedRefs',
  'ResolvedWaypoints=True/ResolvedWaypoints',
]
const seen = new Set<string>()
let count = 0
for (const file of readdirSync(folder).filter((name) => name !== 'usual.yaml')) {
  for (const one of read(file) as readonly Case[]) {
    count++
    t.test(`${file}: ${one.title}`, async (t) => {
      const all = compiled(one, usual)
      for (const statuses of Object.values(all.statuses))
        for (const { conditions } of statuses.list().flat())
          for (const { type, status, reason } of conditions) seen.add(`${type}=${status}/${reason}`)
      if (one.http || !one.requests) t.strictSame(rulesText(all, 'http'), one.http ?? {}, 'rules for HTTP')
      if (one.l4) t.strictSame(rulesText(all, 'l4'), one.l4, 'rules for connections')
      if (one.status) t.strictSame(statusText(all), one.status, 'status')
      for (const [asked, pattern] of Object.entries(one.says ?? {}))
        t.match(messageOfCondition(all, asked), new RegExp(pattern), asked)
      for (const [line, want] of Object.entries(one.requests ?? {}))
        t.equal(answerTo(line, all, one.to ?? 'shop/order:80'), want, line)
      for (const [port, want] of Object.entries(one.names ?? {}))
        t.strictSame(ruleNames(all, port), want, `names of ${port}`)
      for (const [name, want] of Object.entries(one.protocols ?? {}))
        t.strictSame(protocolsText(all, name), want, `protocols of ${name}`)
      for (const [name, want] of Object.entries(one.calls ?? {}))
        t.strictSame(callsText(all, name), want, `calls of ${name}`)
      for (const [name, want] of Object.entries(one.whole ?? {}))
        t.strictSame(all.routes.get(name), want, name)
      // Whatever is compiled is read by waypoints as it was meant.
      for (const routes of all.routes.list()) t.strictSame(asRead(routes), routes, routes.service)
    })
  }
}
t.test('every reason has a case, and there are no others', async (t) => {
  t.strictSame([...seen].sort(), reasons)
})
t.ok(count >= 60, `${count} cases`)
