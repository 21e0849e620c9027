/**
 * AuthorizationPolicies and PeerAuthentications in, Authorization resources out, and the names of them that the pod
 * `shop/order` (labels app=order, root namespace istio-system) must have. `policies.yaml` is the list, in plain words:
 * `ACTION scope: rules`, where rules are told apart by ` ; `, their clauses by ` AND `, alternatives by ` OR `.
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { security } from '#wire'
import { meshOf, pod, sentence } from '../collections/world.ts'

type Case = Readonly<{
  title: string
  given: Readonly<Record<string, unknown>>
  sent?: Readonly<Record<string, string>>
  named?: readonly string[]
  /** Of the mesh's trust domain, which is cluster.local if `domain` does not say. */
  aliases?: readonly string[]
  domain?: string
}>
const scopes = ['mesh', 'namespace', 'selected']
const told = (row: security.Authorization | undefined) =>
  row &&
  `${row.dryRun ? 'on trial ' : ''}${row.action === security.Action.DENY ? 'DENY' : 'ALLOW'} ${scopes[row.scope]}: ${sentence(row)}`

const cases = parse(readFileSync(`${import.meta.dirname}/policies.yaml`, 'utf8')) as readonly Case[]
for (const { title, given, sent = {}, named = [], aliases = [], domain = 'cluster.local' } of cases)
  t.test(title, async (t) => {
    const of = (kind: string) =>
      Object.entries(given)
        .filter(([key]) => key.startsWith(`${kind} `))
        .map(([key, spec], i) => {
          const [namespace = '', name = ''] = key.slice(kind.length + 1).split('/')
          // The order of writing is the order of creation.
          return { metadata: { namespace, name, creationTimestamp: `2026-01-01T00:00:0${i}Z` }, spec }
        })
    const { policies, workloads } = meshOf({
      pods: [pod()],
      policies: of('AP'),
      peers: of('PA'),
      settings: { trustDomain: domain, trustDomainAliases: aliases },
    })
    const strict = 'istio-system/istio_converted_static_strict'
    const got = policies.authorizations.keys().map((key) => [key, told(policies.authorizations.get(key))])
    t.strictSame(Object.fromEntries(got.filter(([key]) => key !== strict)), sent)
    t.strictSame(workloads.list()[0]?.authorizationPolicies, named)
  })
t.ok(cases.length >= 60, `${cases.length} cases`)
