import { isRecord } from '#base'
import type { Api, Target } from '../rest/api.ts'
import { type KubeObject, listAt, numberAt, recordAt, textAt } from '../rest/object.ts'
import { labelSelectorText, parseLabelSelector } from '../store/selectors.ts'

export type Operation = 'CREATE' | 'UPDATE' | 'DELETE'
/** One entry of a ValidatingWebhookConfiguration, read. */
export type Webhook = Readonly<{
  name: string
  clientConfig: Readonly<Record<string, unknown>>
  failurePolicy: 'Fail' | 'Ignore'
  timeoutMs: number
  /** May it be asked about a write that is a dry run? */
  dryRun: boolean
  /** Why it cannot be asked at all, if it cannot. */
  broken: string | undefined
}>

const resource = 'validatingwebhookconfigurations.admissionregistration.k8s.io'
const defaultTimeoutSeconds = 10
const maxTimeoutSeconds = 30

/** The webhooks that a write concerns, by configuration and in their order. Objects of admission itself concern none. */
export function webhooksFor(
  api: Api,
  target: Target,
  operation: Operation,
  objects: readonly (KubeObject | undefined)[],
): readonly Webhook[] {
  if (target.kind.group === 'admissionregistration.k8s.io') return []
  const configurations = api.store.list(resource)
  if (configurations.length === 0) return []
  return configurations
    .flatMap((configuration) => listAt(configuration, 'webhooks'))
    .filter(isRecord)
    .filter((webhook) => listAt(webhook, 'rules').some((rule) => ruleHolds(rule, target, operation)))
    .filter((webhook) => selected(api, webhook, target, objects))
    .map(readWebhook)
}

const holds = (list: readonly unknown[], value: string) => list.includes('*') || list.includes(value)

function ruleHolds(rule: unknown, { kind, subresource }: Target, operation: Operation): boolean {
  const scope = textAt(rule, 'scope') ?? '*'
  const inScope = scope === '*' || scope === (kind.namespaced ? 'Namespaced' : 'Cluster')
  return (
    inScope &&
    holds(listAt(rule, 'operations'), operation) &&
    holds(listAt(rule, 'apiGroups'), kind.group) &&
    holds(listAt(rule, 'apiVersions'), kind.version) &&
    listAt(rule, 'resources').some((text) => resourceHolds(String(text), kind.plural, subresource))
  )
}

/** `pods`, `pods/status`, `pods/*`, `*`, `*` + `/status`; `*` alone has no subresources. */
function resourceHolds(text: string, plural: string, subresource: string | undefined): boolean {
  const [wanted = '', sub] = text.split('/')
  if (wanted !== '*' && wanted !== plural) return false
  return sub === '*' || sub === subresource
}

function selected(
  api: Api,
  webhook: Readonly<Record<string, unknown>>,
  { kind, resource: of, namespace }: Target,
  objects: readonly (KubeObject | undefined)[],
): boolean {
  const present = objects.filter((object) => object !== undefined)
  if (!present.some((object) => selects(webhook['objectSelector'], object))) return false
  // A cluster-wide object has no namespace to choose it by, except a namespace itself.
  if (of === 'namespaces') return present.some((object) => selects(webhook['namespaceSelector'], object))
  if (!kind.namespaced) return true
  const home = api.store.get('namespaces', '', namespace ?? '')
  return home !== undefined && selects(webhook['namespaceSelector'], home)
}

/** A selector that cannot be read selects: asking once too often refuses nothing that is good. */
function selects(selector: unknown, object: KubeObject): boolean {
  const text = labelSelectorText(selector)
  if (text === '') return true
  const parsed = parseLabelSelector(text)
  return parsed.kind === 'reject' || parsed.matches(object)
}

function readWebhook(webhook: Readonly<Record<string, unknown>>): Webhook {
  const seconds = numberAt(webhook, 'timeoutSeconds') ?? defaultTimeoutSeconds
  const effects = textAt(webhook, 'sideEffects')
  const versions = listAt(webhook, 'admissionReviewVersions')
  return {
    name: textAt(webhook, 'name') ?? '',
    clientConfig: recordAt(webhook, 'clientConfig'),
    failurePolicy: textAt(webhook, 'failurePolicy') === 'Ignore' ? 'Ignore' : 'Fail',
    timeoutMs: Math.min(Math.max(seconds, 1), maxTimeoutSeconds) * 1000,
    dryRun: effects === 'None' || effects === 'NoneOnDryRun',
    broken: !versions.includes('v1')
      ? 'it does not take AdmissionReview v1'
      : listAt(webhook, 'matchConditions').length > 0
        ? 'matchConditions are not done by this server'
        : undefined,
  }
}
