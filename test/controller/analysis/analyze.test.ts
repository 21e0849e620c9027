import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import type { KubeObject } from '#kube'
import { analyze, type Message } from '../../../controller/analysis/index.ts'
import { settings } from '../collections/world.ts'
import { type Fields, overlay, type Usual } from '../routes/render.ts'

type Given = Fields & { kind: string }
type Case = Readonly<{ title: string; given: readonly Given[]; messages?: readonly string[] }>

const read = (path: string): unknown =>
  parse(readFileSync(`${import.meta.dirname}/${path}`, 'utf8'), { merge: true })
const { always, given: shapes } = read('../routes/golden/usual.yaml') as Usual
const own: Record<string, Fields> = {
  Pod: { metadata: { name: 'pod', namespace: 'shop' }, status: { podIP: '10.1.0.1', phase: 'Running' } },
  AuthorizationPolicy: { metadata: { name: 'p', namespace: 'shop' }, spec: {} },
  Service: { spec: { selector: { app: 'order' } } },
}
const groups: Readonly<Record<string, string>> = {
  VirtualService: 'networking.istio.io/v1',
  DestinationRule: 'networking.istio.io/v1',
  ServiceEntry: 'networking.istio.io/v1',
  Sidecar: 'networking.istio.io/v1',
  EnvoyFilter: 'networking.istio.io/v1alpha3',
  AuthorizationPolicy: 'security.istio.io/v1',
  RequestAuthentication: 'security.istio.io/v1',
  Telemetry: 'telemetry.istio.io/v1',
  HTTPRoute: 'gateway.networking.k8s.io/v1',
  Gateway: 'gateway.networking.k8s.io/v1',
  GatewayClass: 'gateway.networking.k8s.io/v1',
}

/** What is given replaces what is always there under the same name. */
function objectsOf(given: readonly Given[]): readonly KubeObject[] {
  const all = [...always, ...given].map((one) => {
    const { kind } = one
    const base = overlay({ metadata: { namespace: 'shop' } }, overlay(shapes[kind] ?? {}, own[kind] ?? {}))
    const isGlobal = kind === 'Namespace' || kind === 'GatewayClass'
    const object = overlay(isGlobal ? overlay(base, { metadata: { namespace: null } }) : base, one)
    return { apiVersion: groups[kind] ?? 'v1', ...object }
  }) as unknown as readonly KubeObject[]
  const nameOf = ({ kind, metadata }: KubeObject) => `${kind} ${metadata.namespace}/${metadata.name}`
  return [...new Map(all.map((one) => [nameOf(one), one])).values()]
}
const sentence = ({ code, level, resource, text }: Message) => `${code} ${level} ${resource}: ${text}`
const usual = new Set(analyze(objectsOf([]), settings).map(sentence))

t.test('of the usual objects only the ports are said that nobody declares', async (t) => {
  t.strictSame(
    new Set([...usual].map((line) => line.replace(/: .*/, ''))),
    new Set(['order', 'order-v1', 'order-v2'].map((name) => `IST0118 Info Service shop/${name}`)),
  )
})

const said = new Set<string>()
for (const { title, given, messages = [] } of read('cases.yaml') as readonly Case[])
  t.test(title, async (t) => {
    const found = analyze(objectsOf(given), settings)
    for (const { name } of found) said.add(name)
    const lines = found.map(sentence).filter((line) => !usual.has(line))
    t.equal(lines.length, messages.length, lines.join('\n'))
    for (const [nth, wanted] of messages.entries()) t.match(lines[nth], new RegExp(`^${wanted}`), wanted)
  })

t.test('every message has a case', async (t) => {
  t.strictSame(
    [...said].sort(),
    [
      'ConflictingMeshGatewayVirtualServiceHosts',
      'DestinationRuleSubsetsNotSelectPods',
      'IneffectivePolicy',
      'MisplacedAnnotation',
      'NegativeConditionStatus',
      'NoMatchingWorkloadsFound',
      'PortNameIsNotUnderNamingConvention',
      'ReferencedResourceNotFound',
      'SchemaValidationError',
      'SchemaWarning',
      'UnknownAnnotation',
      'VirtualServiceIneffectiveMatch',
      'VirtualServiceUnreachableRule',
    ].sort(),
  )
})

t.test('whatever is in an object, it is looked at and the others are as they were', async (t) => {
  const odd: readonly unknown[] = [undefined, null, 5, 'x', [], {}, [5], { a: { b: [] } }]
  for (const kind of Object.keys(groups))
    for (const spec of odd) {
      const object = {
        apiVersion: groups[kind] ?? '',
        kind,
        metadata: { name: 'odd', namespace: 'odd' },
        spec,
      }
      const lines = analyze([...objectsOf([]), object], settings).map(sentence)
      for (const line of usual) t.ok(lines.includes(line), `${kind} ${JSON.stringify(spec)}: ${line}`)
    }
})
