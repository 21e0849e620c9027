// Mutated field values against what reads them: `traceparent`, `forwarded`, `baggage` and the authority of a CONNECT.
import t from 'tap'
import { formatAddress } from '#base'
import { forwardedHost, parseAuthority, partyOf, traceOf } from '#mesh'

import { figure, soonMs } from './h2-attack-kit.ts'
import { blind, Finds, mutate, randomOf } from './h2-fuzz-kit.ts'

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000)
const runs = 20_000
t.comment(`FUZZ_SEED=${seed}`)

const only = (name: string, value: string) => new Map([[name, value]])
const tracePattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

type Target = Readonly<{
  name: string
  seeds: readonly string[]
  /** What is wrong with the result, and what kind of result it is. */
  judge(text: string): Readonly<{ fault?: string | false | undefined; kind: string }>
}>

const targets: readonly Target[] = [
  {
    name: 'traceparent',
    seeds: ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '', '00-', 'ff-00-00-00'],
    judge: (text) => {
      const trace = traceOf(only('traceparent', text))
      const kept = tracePattern.test(text)
      return { fault: (!tracePattern.test(trace) || (kept && trace !== text)) && trace, kind: `${kept}` }
    },
  },
  {
    name: 'forwarded',
    seeds: [
      'for="10.0.0.1:80";host=web.demo.svc.cluster.local',
      'host="a"',
      'for=x; host=B;proto=https',
      ';;host=',
    ],
    judge: (text) => {
      const host = forwardedHost(only('forwarded', text))
      return {
        fault: host !== undefined && /[;A-Z]/.test(host) && host,
        kind: `${host === undefined} ${host?.length}`,
      }
    },
  },
  {
    name: 'baggage',
    seeds: [
      'k8s.cluster.name=c,k8s.namespace.name=n,k8s.deployment.name=web,service.name=web,service.version=v1',
      'cloud.region=r,cloud.availability_zone=z',
      'k8s.pod.name==,=,a=b=c',
      ',,,',
    ],
    judge: (text) => {
      const party = partyOf(text)
      const said = JSON.stringify(party ?? {})
      const fault =
        party && [party.namespace, party.workloadName, party.clusterId].some((one) => one.includes(','))
      return { fault: fault && said, kind: said.replace(/"[^"]+":""/g, '').replace(/:"[^"]*"/g, '') }
    },
  },
  {
    name: 'authority',
    seeds: [
      '10.0.0.1:80',
      '[fd00::1]:443',
      'web.demo.svc.cluster.local:8080',
      '[::ffff:1.2.3.4]:1',
      '1.2.3:65535',
    ],
    judge: (text) => {
      const parsed = parseAuthority(text)
      if (parsed === undefined) return { kind: 'no' }
      const port = parsed.kind === 'address' ? parsed.to.port : parsed.port
      const again = parsed.kind === 'address' ? formatAddress(parsed.to) : `${parsed.hostname}:${port}`
      const same = JSON.stringify(parseAuthority(again)) === JSON.stringify(parsed)
      const odd = port < 0 || port > 65_535 || !same || /[\s@/?#%,\0]/.test(again)
      return { fault: odd && again, kind: `${parsed.kind} ${text.length}` }
    },
  },
]
for (const [i, { name, seeds, judge }] of targets.entries()) {
  t.test(`no ${name} is more than its reader can take`, async (t) => {
    const random = randomOf(seed + i)
    const finds = new Finds(
      seeds.map((one) => Buffer.from(one || ' ', 'latin1')),
      500,
    )
    for (let n = 0; n < runs; n++) {
      const from = finds.seeds[random(finds.seeds.length)] ?? Buffer.from(' ')
      const input = mutate(from, blind, random, finds.seeds, 600)
      const text = input.toString('latin1')
      try {
        const { fault, kind } = judge(text)
        if (fault !== undefined && fault !== false) return void t.fail(`${fault}: ${JSON.stringify(text)}`)
        finds.note(input, kind)
      } catch (error) {
        return void t.fail(`${String(error)}: ${JSON.stringify(text)}`)
      }
    }
    // A pattern that goes back and forth would need minutes for these.
    const began = performance.now()
    for (const unit of [...seeds, 'a', '.', '=', ',', ';host=', '"', '[', ':', '0'])
      judge(unit.repeat(64_000 / Math.max(1, unit.length)))
    const ms = Math.round(performance.now() - began)
    figure(t, `fuzz ${name}`, { runs, behaviours: finds.size, longMs: ms })
    t.ok(ms < soonMs, `${ms} ms for values of 64 KB`)
  })
}
