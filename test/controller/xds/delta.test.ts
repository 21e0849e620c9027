import fc from 'fast-check'
import t from 'tap'
import {
  changed,
  type Request,
  requested,
  respond,
  type Response,
  subscribed,
  type Subscription,
} from '../../../controller/xds/delta.ts'
import { type Resource, Snapshot } from '../../../controller/xds/snapshot.ts'
import '../../fakes/seed.ts'

/**
 * Scenarios as text. `set a@1 b@1` publishes exactly that; `name(key,key)@version` answers to keys too. `>` is a request
 * of the client, `<` what it is answered with (`-` for nothing). Words of a request: `sub:x`, `unsub:x`, `has:a@1`,
 * `ack` / `nack` / `stale` for the last nonce.
 */
function play(scenario: string): string[] {
  const view = new Snapshot()
  let state: Subscription | undefined
  let nonce = 0
  const out: string[] = []
  const flush = () => {
    if (!state) return
    const answer = respond(state, view, String(nonce + 1))
    state = answer.state
    if (!answer.response) return void out.push('< -')
    nonce++
    const { resources, removed } = answer.response
    const words = [...resources.map((r) => `+${r.name}@${r.version}`), ...removed.map((name) => `-${name}`)]
    out.push(`< ${words.length > 0 ? words.join(' ') : 'empty'}`)
  }
  for (const line of scenario
    .split('\n')
    .map((l) => l.trim())
    .filter((l) => l !== '' && !l.startsWith('<'))) {
    const [verb, ...words] = line.split(/\s+/)
    if (verb === 'set') {
      const next = new Map(words.map(resource).map((r) => [r.name, r]))
      const names = view.publish([...view.names(), ...next.keys()], (name) => next.get(name))
      if (state) state = changed(state, names)
    } else {
      const request = requestOf(words, nonce)
      state = state ? requested(state, request).state : subscribed(request, ['node:n1'])
    }
    flush()
  }
  return out
}

function resource(text: string): Resource {
  const [, name = '', keys = '', version = ''] = /^([^(@]+)(?:\(([^)]*)\))?@(.+)$/.exec(text) ?? []
  return {
    name,
    version,
    aliases: [],
    keys: [name, ...keys.split(',').filter(Boolean)],
    any: { typeUrl: '', value: Buffer.alloc(0) },
  }
}

function requestOf(words: readonly string[], nonce: number): Request {
  const all = (prefix: string) =>
    words.filter((w) => w.startsWith(`${prefix}:`)).map((w) => w.slice(prefix.length + 1))
  const versions = Object.fromEntries(all('has').map((w) => w.split('@')))
  const answers = words.includes('ack') || words.includes('nack')
  return {
    subscribe: all('sub'),
    unsubscribe: all('unsub'),
    versions,
    nonce: answers ? String(nonce) : words.includes('stale') ? 'older' : '',
    error: words.includes('nack') ? 'cannot read' : undefined,
  }
}

const scenarios: Record<string, string> = {
  'wildcard: everything first, then what changes': `
    set a@1 b@1
    > 
    < +a@1 +b@1
    > ack
    < -
    set a@2 b@1
    < +a@2
    > ack
    < -
    set a@2
    < -b`,
  'wildcard by name, and nothing to send: still one answer': `
    > sub:*
    < empty
    > ack
    < -
    set a@1
    < +a@1`,
  'one on its way: what changes meanwhile gathers, and only its last state is sent': `
    set a@1
    >
    < +a@1
    set a@2
    < -
    set a@3 b@1
    < -
    set a@3
    < -
    > ack
    < +a@3 -b`,
  'a rejected resource is not sent again until it changes': `
    set a@1
    >
    < +a@1
    > nack
    < -
    set a@2
    < +a@2`,
  'an answer to an older response settles nothing': `
    set a@1
    >
    < +a@1
    set a@2
    < -
    > stale
    < -
    > ack
    < +a@2`,
  'resume: only what differs, and what is gone': `
    set a@1 b@2 c@1
    > has:a@1 has:b@1 has:x@1
    < +b@2 +c@1 -x
    > ack
    < -`,
  'resume with nothing changed: one empty answer': `
    set a@1
    > has:a@1
    < empty`,
  'a wildcard client that asks by name is sent it once more': `
    set a@1
    >
    < +a@1
    > ack sub:a
    < +a@1
    > ack sub:none
    < -none`,
  'on demand: begin with nothing but one’s own node': `
    set a(node:n1)@1 b(node:n2)@1
    > sub:* unsub:*
    < +a@1
    > ack
    < -
    set a(node:n1)@1 b(node:n2)@2
    < -
    > sub:b
    < +b@2
    > ack
    < -
    set a(node:n1)@1
    < -b`,
  'on demand: by alias; unknown ones are answered as removed': `
    set w(/10.0.0.1,svc)@1 svc@1
    > sub:/10.0.0.1 sub:/10.0.0.9
    < +w@1 -/10.0.0.9
    > ack sub:svc
    < +svc@1 +w@1
    > ack
    < -
    set w(/10.0.0.1,svc)@1 w2(svc)@1 svc@1
    < +w2@1`,
  'on demand: what appears later under a key asked for is sent': `
    > sub:/10.0.0.1
    < -/10.0.0.1
    > ack
    < -
    set w(/10.0.0.1)@1
    < +w@1`,
  'on demand: unsubscribed means told to forget it, and told no more': `
    set a@1 b@1
    > sub:a sub:b
    < +a@1 +b@1
    > ack unsub:a
    < -a
    > ack
    < -
    set a@2 b@2
    < +b@2`,
  'on demand resume: held and unchanged is not sent again': `
    set a@1 b@2
    > sub:a sub:b has:a@1 has:b@1 has:gone@1
    < +b@2 -gone`,
  'widening to the wildcard sends everything': `
    set a@1 b@1
    > sub:a
    < +a@1
    > ack sub:*
    < +a@1 +b@1`,
}

for (const [title, scenario] of Object.entries(scenarios))
  t.test(title, async (t) => {
    const want = scenario
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line.startsWith('<'))
    // Publishing before anybody asked answers nobody.
    t.strictSame(play(scenario), want)
  })

t.test(
  'whatever happens in whatever order, a client that acknowledges ends with exactly what there is',
  async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('set' as const),
        rows: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('1', '2', '3')),
      }),
      fc.record({
        kind: fc.constantFrom('ack' as const, 'nack' as const, 'reconnect' as const),
        rows: fc.constant({}),
      }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const view = new Snapshot()
        const client = new Map<string, string>()
        let nonce = 0
        let state = subscribed(requestOf([], 0))
        let sent: string | undefined
        const flush = () => {
          const answer = respond(state, view, String(nonce + 1))
          state = answer.state
          if (!answer.response) return
          sent = String(++nonce)
          for (const r of answer.response.resources) client.set(r.name, r.version)
          for (const name of answer.response.removed) client.delete(name)
        }
        const settle = (error?: string) => {
          if (sent === undefined) return
          const nonceNow = sent
          sent = undefined
          state = requested(state, { ...requestOf([], 0), nonce: nonceNow, error }).state
          flush()
        }
        flush()
        for (const { kind, rows } of steps) {
          if (kind === 'set') {
            const next = new Map(
              Object.entries(rows).map(([name, version]) => [name, resource(`${name}@${version}`)]),
            )
            state = changed(
              state,
              view.publish([...view.names(), ...next.keys()], (name) => next.get(name)),
            )
            flush()
          } else if (kind === 'reconnect') {
            sent = undefined
            state = subscribed({ ...requestOf([], 0), versions: Object.fromEntries(client) })
            flush()
          } else settle(kind === 'nack' ? 'no' : undefined)
        }
        while (sent !== undefined) settle()
        const words = (rows: Iterable<readonly [string, string]>) =>
          [...rows]
            .map((row) => row.join('@'))
            .sort()
            .join()
        return words(client) === words([...view.names()].map((n) => [n, view.get(n)?.version ?? ''] as const))
      }),
      { numRuns: 500 },
    )
  },
)

t.test('what is told by looking at changes alone is what counting everything again would tell', async (t) => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'k1', 'k2')
  const keys = fc.uniqueArray(fc.constantFrom('k1', 'k2', 'node:n1'), { maxLength: 2 })
  const step = fc.oneof(
    fc.record({
      rows: fc.dictionary(
        fc.constantFrom('a', 'b', 'c', 'd'),
        fc.record({ version: fc.constantFrom('1', '2'), keys }),
      ),
    }),
    fc.record({
      sub: fc.uniqueArray(name, { maxLength: 2 }),
      unsub: fc.uniqueArray(name, { maxLength: 1 }),
      ack: fc.boolean(),
    }),
  )
  let told = 0
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const first = requestOf(['sub:*', 'unsub:*'], 0)
      const [view, nonces] = [new Snapshot(), [0, 0]]
      let states = [subscribed(first, ['node:n1']), subscribed(first, ['node:n1'])]
      const flush = () => {
        const answers = states.map((state, i) => {
          const how = i === 0 ? state : { ...state, recount: true }
          const { state: next, response } = respond(how, view, String((nonces[i] ?? 0) + 1))
          if (response) nonces[i] = (nonces[i] ?? 0) + 1
          return { next, said: response && show(response) }
        })
        states = answers.map(({ next }) => next)
        if (answers[0]?.said !== undefined) told++
        return answers[0]?.said === answers[1]?.said
      }
      return (
        flush() &&
        steps.every((each) => {
          if ('rows' in each) {
            const rows = new Map(
              Object.entries(each.rows).map(([n, row]) => [
                n,
                resource(`${n}(${row.keys.join()})@${row.version}`),
              ]),
            )
            const names = view.publish([...view.names(), ...rows.keys()], (n) => rows.get(n))
            states = states.map((state) => changed(state, names))
          } else
            states = states.map((state, i) => {
              const nonce = each.ack && state.awaiting !== undefined ? String(nonces[i]) : ''
              const request = { ...requestOf([], 0), subscribe: each.sub, unsubscribe: each.unsub, nonce }
              return requested(state, request).state
            })
          return flush()
        })
      )
    }),
    { numRuns: 1_000 },
  )
  t.ok(told > 1_000, `something was told ${told} times`)
})

const show = ({ resources, removed }: Response): string =>
  [...resources.map((r) => `+${r.name}@${r.version}`), ...removed.map((name) => `-${name}`)].join(' ')
