import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { validatedKinds } from '../../../controller/validation/index.ts'
import { webhookNames } from '../../../controller/reconcile/index.ts'

type Webhook = Readonly<{
  name: string
  rules: readonly Readonly<{ apiGroups: string[]; operations: string[]; resources: string[] }>[]
  failurePolicy: string
  sideEffects: string
  timeoutSeconds: number
  objectSelector?: unknown
}>
type Configuration = Readonly<{
  metadata: { name: string; labels: Record<string, string> }
  webhooks: Webhook[]
}>

const configurations = parseAllDocuments(readFileSync('manifests/istiod/webhook.yaml', 'utf8')).map(
  (document) => document.toJS() as Configuration,
)

t.test('both configurations of Istio’s, by the names that the leader looks for', async (t) => {
  t.strictSame(
    configurations.map(({ metadata }) => metadata.name),
    webhookNames('istio-system', 'default'),
  )
  t.strictSame(
    configurations.map(({ webhooks }) => webhooks.map(({ name }) => name)),
    [['rev.validation.istio.io'], ['validation.istio.io']],
  )
  t.ok(configurations.every(({ metadata }) => metadata.labels['istio.io/rev'] === 'default'))
  const [revisioned, all] = configurations.flatMap(({ webhooks }) => webhooks)
  t.ok(revisioned?.objectSelector, 'one for the objects of a revision')
  t.equal(all?.objectSelector, undefined, 'and one for all')
})

t.test(
  'a webhook that is away never keeps a pod from starting: nothing but Istio’s kinds is shown to it',
  async (t) => {
    for (const { rules, sideEffects, timeoutSeconds, failurePolicy } of configurations.flatMap(
      (one) => one.webhooks,
    )) {
      for (const { apiGroups, operations, resources } of rules) {
        t.ok(apiGroups.every((group) => group.endsWith('.istio.io')))
        t.strictSame(operations, ['CREATE', 'UPDATE'], 'what is in the way can always be deleted')
        t.strictSame(resources, ['*'], 'and no subresource: status is written without it')
        for (const kind of validatedKinds) t.ok(apiGroups.includes(kind.split('/')[0] ?? ''), kind)
      }
      t.ok(timeoutSeconds <= 5)
      t.equal(sideEffects, 'None', 'so it can be asked about a dry run')
      t.equal(failurePolicy, 'Ignore', 'to begin with')
    }
  },
)
