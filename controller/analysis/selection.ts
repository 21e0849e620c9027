import { isRecord } from '#base'
import type { Custom, KubeObject, Service } from '#kube'
import { readDestinationRule } from '../routes/index.ts'
import { message, type Message } from './message.ts'
import { resourceOf } from './resource.ts'
import type { World } from './world.ts'

type Labels = Readonly<Record<string, unknown>>

const isIn = (wanted: Labels, labels: Labels = {}): boolean =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value)
const shown = (labels: Labels): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(',')

const selectors = [
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'Telemetry',
  'WasmPlugin',
]

/** Selectors that no workload fits. */
export function selectorMessages({ of, objects, settings }: World): readonly Message[] {
  const workloads = objects.filter(({ kind }) => kind === 'Pod' || kind === 'WorkloadEntry')
  return selectors.flatMap(of).flatMap((object: KubeObject & { spec?: unknown }) => {
    const selector = isRecord(object.spec) ? object.spec['selector'] : undefined
    const wanted = isRecord(selector) ? selector['matchLabels'] : undefined
    const { namespace } = object.metadata
    if (!isRecord(wanted) || Object.keys(wanted).length === 0) return []
    const fits = ({ metadata }: KubeObject) =>
      (namespace === settings.rootNamespace || metadata.namespace === namespace) &&
      isIn(wanted, labelsOf(metadata))
    if (workloads.some(fits)) return []
    return [
      message('NoMatchingWorkloadsFound', resourceOf(object), `no workload has the labels ${shown(wanted)}`),
    ]
  })
}

const labelsOf = ({ labels = {} }: KubeObject['metadata']): Labels => labels

/** Subsets of Services that no pod is in. */
export function subsetMessages({ of, settings, inputs }: World): readonly Message[] {
  return of('DestinationRule').flatMap((object) => {
    const rule = readDestinationRule(object as Custom, settings.domain)
    const [name = '', namespace = ''] = rule.host.split('.')
    const service = inputs.services.get(`${namespace}/${name}`)
    const selector = service?.spec?.selector
    if (rule.host !== `${name}.${namespace}.svc.${settings.domain}` || !selector) return []
    const pods = podsOf(service, selector, of('Pod'))
    return rule.subsets
      .filter(({ labels }) => !pods.some(({ metadata }) => isIn(labels, metadata.labels)))
      .map((subset) =>
        message(
          'DestinationRuleSubsetsNotSelectPods',
          resourceOf(object),
          `subset ${subset.name} of ${rule.host}: no pod of it has the labels ${shown(subset.labels)}; requests to it are answered with 503`,
        ),
      )
  })
}

const podsOf = (service: Service, selector: Labels, pods: readonly KubeObject[]) =>
  pods.filter(
    ({ metadata }) => metadata.namespace === service.metadata.namespace && isIn(selector, metadata.labels),
  )
