import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { parseConfig } from '../../controller/config.ts'
import { leasesOf } from '../../controller/leases.ts'
import { meshConfigMap } from '../../controller/mesh-config.ts'
import { webhookNames } from '../../controller/reconcile/index.ts'
import type { Parsed } from '../sandbox/api/harness.ts'

type Rule = Readonly<{
  resources: readonly string[]
  resourceNames?: readonly string[]
  verbs: readonly string[]
}>
type Manifest = Parsed

const manifestsIn = (text: string): readonly Manifest[] =>
  parseAllDocuments(text).map((document) => document.toJS())
const of = (all: readonly Manifest[], kind: string) => all.filter((one) => one.kind === kind)
const granted = (all: readonly Manifest[], kind: string, resource: string, verb: string) =>
  of(all, kind)
    .flatMap(({ rules = [] }): readonly Rule[] => rules)
    .filter(({ resources, verbs }) => resources.includes(resource) && verbs.includes(verb))
    .flatMap(({ resourceNames = [] }) => resourceNames)

const kustomized = spawnSync('kubectl', ['kustomize', 'manifests/revision'], { encoding: 'utf8' })
const skip = kustomized.status !== 0 && 'there is no kubectl to build manifests/revision with'
const canary = skip ? [] : manifestsIn(kustomized.stdout)

t.test('the default control plane may hold every Lease of its jobs', async (t) => {
  const all = manifestsIn(readFileSync('manifests/istiod/rbac.yaml', 'utf8'))
  t.same(new Set(granted(all, 'Role', 'leases', 'update')), new Set(Object.values(leasesOf('default'))))
})

t.test('so may another revision, and keep its own webhook', { skip }, async (t) => {
  const leases = granted(canary, 'Role', 'leases', 'update')
  for (const lease of Object.values(leasesOf('canary'))) t.ok(leases.includes(lease), lease)
  const patched = granted(canary, 'ClusterRole', 'validatingwebhookconfigurations', 'patch')
  for (const name of webhookNames('istio-system', 'canary')) t.ok(patched.includes(name), name)
  const own = of(canary, 'ValidatingWebhookConfiguration')
  t.strictSame(
    own.map(({ metadata }) => metadata.name),
    webhookNames('istio-system', 'canary').slice(0, 1),
    'what is of no revision is the default one’s to judge',
  )
  t.equal(own[0]?.['webhooks'][0].clientConfig.service.name, 'istiod-canary')
  t.strictSame(own[0]?.['webhooks'][0].objectSelector.matchExpressions[0].values, ['canary'])
})

t.test('it takes nothing from the default one', { skip }, async (t) => {
  const base = spawnSync('kubectl', ['kustomize', 'manifests/istiod'], { encoding: 'utf8' })
  const named = ({ kind, metadata }: Manifest) => `${kind} ${metadata.name}`
  const taken = new Set(manifestsIn(base.stdout).map(named))
  t.strictSame(
    canary.map(named).filter((name) => taken.has(name)),
    [],
  )
  const [service] = of(manifestsIn(base.stdout), 'Service')
  const [deployment] = of(canary, 'Deployment')
  const podLabels = deployment?.['spec'].template.metadata.labels
  t.notOk(
    Object.entries(service?.['spec'].selector).every(([key, value]) => podLabels[key] === value),
    'nor its clients',
  )
  const [own] = of(canary, 'Service')
  t.match(podLabels, own?.['spec'].selector)
  t.match(podLabels, deployment?.['spec'].selector.matchLabels)
})

t.test('and reads what is its own', { skip }, async (t) => {
  const [deployment] = of(canary, 'Deployment')
  const env: readonly { name: string; value?: string }[] =
    deployment?.['spec'].template.spec.containers[0].env
  const config = parseConfig(Object.fromEntries(env.map(({ name, value = 'x' }) => [name, value])))
  t.equal(config.revision, 'canary')
  t.equal(config.caAddress.split('.')[0], of(canary, 'Service')[0]?.metadata.name)
  t.equal(meshConfigMap(config.revision), of(canary, 'ConfigMap')[0]?.metadata.name)
  t.equal(meshConfigMap('default'), 'istio')
  t.equal(deployment?.['spec'].template.spec.serviceAccountName, 'istiod-canary')
  for (const kind of ['RoleBinding', 'ClusterRoleBinding'])
    for (const { roleRef, subjects, metadata } of of(canary, kind) as readonly Manifest[]) {
      t.equal(subjects?.[0].name, 'istiod-canary', metadata.name)
      t.equal(roleRef?.name, metadata.name)
    }
})
