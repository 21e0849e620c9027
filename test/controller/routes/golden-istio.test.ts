/**
 * VirtualServices and DestinationRules in; what waypoints obey and what conditions say out. The cases are the files in
 * golden-istio/, on top of what golden/usual.yaml always has. Besides the sentences of golden.test.ts: `policies` says
 * what of the way a destination is called is not as usual, `conditions` what is told on the objects. Cases of MeshConfig are in
 * golden-istio/mesh-config.yaml.
 */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import {
  answerTo,
  asRead,
  type Case,
  type Compiled,
  compiled,
  conditionMessage,
  conditionsText,
  policyOf,
  ruleNames,
  rulesText,
  statusText,
  type Usual,
} from './render.ts'

t.setTimeout(300_000) // more than a hundred meshes, on a machine that may be slow

type IstioCase = Case &
  Readonly<{
    policies?: Readonly<Record<string, unknown>>
    /** By service, how paths are spelled on each port. */
    paths?: Readonly<Record<string, readonly unknown[]>>
    /** By service, of each rule that forwards. */
    retries?: Readonly<Record<string, readonly unknown[]>>
    conditions?: Readonly<Record<string, string>>
  }>

/** Of the rules for HTTP of a service, in order. */
const retriesOf = (all: Compiled, name: string): readonly unknown[] =>
  (all.routes.get(name)?.ports ?? []).flatMap(({ http }) =>
    http.flatMap(({ action }) => (action.kind === 'forward' ? [action.retry] : [])),
  )

const read = (file: string): unknown =>
  parse(readFileSync(`${import.meta.dirname}/${file}`, 'utf8'), { merge: true })
const usual = read('golden/usual.yaml') as Usual
/** All that is told on VirtualServices and DestinationRules. */
const reasons = [
  'lateen.dev/Accepted=False/Conflicted',
  'lateen.dev/Accepted=False/NoAddress',
  'lateen.dev/Accepted=False/NoMatchingService',
  'lateen.dev/Accepted=False/NoWaypoint',
  'lateen.dev/Accepted=False/NotForMesh',
  'lateen.dev/Accepted=False/NotForWaypoints',
  'lateen.dev/Accepted=False/NotVisible',
  'lateen.dev/Accepted=False/Overridden',
  'lateen.dev/Accepted=False/UnsupportedValue',
  'lateen.dev/Accepted=True/Accepted',
  'lateen.dev/PartiallyInvalid=True/UnsupportedValue',
  'lateen.dev/ResolvedRefs=False/BackendNotFound',
  'lateen.dev/ResolvedRefs=True/ResolvedRefs',
]
const seen = new Set<string>()
let count = 0
for (const file of readdirSync(`${import.meta.dirname}/golden-istio`)) {
  for (const one of read(`golden-istio/${file}`) as readonly IstioCase[]) {
    count++
    t.test(`${file}: ${one.title}`, async (t) => {
      const all = compiled(one, usual)
      for (const conditions of Object.values(all.conditions))
        for (const { type, status, reason } of conditions.list().flat())
          seen.add(`${type}=${status}/${reason}`)
      if (one.http || !(one.policies || one.l4 || one.retries))
        t.strictSame(rulesText(all, 'http'), one.http ?? {}, 'rules for HTTP')
      if (one.l4) t.strictSame(rulesText(all, 'l4'), one.l4, 'rules for connections')
      for (const [name, want] of Object.entries(one.paths ?? {}))
        t.strictSame(
          (all.routes.get(name)?.ports ?? []).map(({ paths = null }) => paths),
          want,
          `paths of ${name}`,
        )
      for (const [name, want] of Object.entries(one.retries ?? {}))
        t.strictSame(retriesOf(all, name), want, `retries of ${name}`)
      for (const [key, want] of Object.entries(one.policies ?? {}))
        t.strictSame(policyOf(all, key), want, key)
      for (const [asked, want] of Object.entries(one.conditions ?? {}))
        t.equal(conditionsText(all, asked), want, asked)
      for (const [asked, pattern] of Object.entries(one.says ?? {}))
        t.match(conditionMessage(all, asked), new RegExp(pattern), asked)
      if (one.status) t.strictSame(statusText(all), one.status, 'status')
      for (const [line, want] of Object.entries(one.requests ?? {}))
        t.equal(answerTo(line, all, one.to ?? 'shop/order:80'), want, line)
      for (const [port, want] of Object.entries(one.names ?? {}))
        t.strictSame(ruleNames(all, port), want, `names of ${port}`)
      // Whatever is compiled is read by waypoints as it was meant.
      for (const routes of all.routes.list()) t.strictSame(asRead(routes), routes, routes.service)
    })
  }
}
t.test('every reason has a case, and there are no others', async (t) => {
  t.strictSame([...seen].sort(), reasons)
})
t.ok(count >= 110, `${count} cases`)
