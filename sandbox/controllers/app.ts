import { once } from 'node:events'
import { type Collection, type KubeClient, type Kind, keyOf, kinds, type KubeObject, reflect } from '#kube'
import type { Logger } from '#telemetry'
import type { SandboxConfig } from '../config.ts'
import { warning } from './actions.ts'
import { clusterObjectsPlan, clusterServices } from './cluster-objects.ts'
import { type Controller, on, runController } from './controller.ts'
import { daemonSetPlan } from './daemon-set.ts'
import { deploymentPlan } from './deployment.ts'
import { endpointSlicePlan } from './endpoint-slices.ts'
import { jobPlan } from './job.ts'
import { namespacePlan, rootConfigMap } from './namespace-contents.ts'
import { nodeLifecyclePlan, podGcPlan } from './node-lifecycle.ts'
import { daemonSets, deployments, jobs, nodes, pods, replicaSets, type SchedulablePod } from './objects.ts'
import { controllerOf } from './pod-state.ts'
import type { World } from './perform.ts'
import { watchReachability } from './reachability.ts'
import { replicaSetPlan } from './replica-set.ts'
import { isWaiting, schedulePlan } from './scheduler.ts'

type ControllerOptions = Readonly<{
  client: KubeClient
  config: SandboxConfig
  /** The API server's root certificate, for the pods. */
  rootPem: string
  signal: AbortSignal
  log: Logger
  now?: () => Date
}>

const cronJobs: Kind = { apiVersion: 'batch/v1', kind: 'CronJob', plural: 'cronjobs', namespaced: true }

type Views = ReturnType<typeof watchAll>

/** Everything that the controllers look at, with the indexes they look it up by. */
function watchAll({ client, signal, log }: ControllerOptions) {
  const watch = <T extends KubeObject>(kind: Kind<T>, selection: object = {}): Collection<T> =>
    reflect(client, kind, { ...selection, signal, log })
  const ownerUid = (row: KubeObject) => [controllerOf(row)?.uid ?? '']
  const namespaceOf = (row: KubeObject) => [row.metadata.namespace ?? '']
  const views = {
    deployments: watch(deployments),
    sets: watch(replicaSets),
    daemons: watch(daemonSets),
    pods: watch(pods),
    nodes: watch(nodes),
    services: watch(kinds.Service),
    slices: watch(kinds.EndpointSlice),
    leases: watch(kinds.Lease, { namespace: 'kube-node-lease' }),
    namespaces: watch(kinds.Namespace),
    accounts: watch(kinds.ServiceAccount, { fieldSelector: 'metadata.name=default' }),
    roots: watch(kinds.ConfigMap, { fieldSelector: `metadata.name=${rootConfigMap}` }),
    jobs: watch(jobs),
    notRun: [watch(kinds.StatefulSet), watch(cronJobs)],
  }
  return {
    ...views,
    setsByOwner: views.sets.indexBy(ownerUid),
    podsByOwner: views.pods.indexBy(ownerUid),
    podsByNamespace: views.pods.indexBy(namespaceOf),
    podsByNode: views.pods.indexBy(({ spec }: SchedulablePod) => [spec?.nodeName ?? '']),
    servicesByNamespace: views.services.indexBy(namespaceOf),
    slicesByService: views.slices.indexBy((slice) => [serviceKeyOf(slice)]),
  }
}

const serviceKeyOf = ({ metadata }: KubeObject) =>
  `${metadata.namespace}/${metadata.labels?.['kubernetes.io/service-name'] ?? ''}`
const own = (row: KubeObject) => [keyOf(row)]
/** The key of a row's controller, when that is of `kind`. */
const ownerKey = (kind: string) => (row: KubeObject) => {
  const owner = controllerOf(row)
  return owner?.kind === kind ? [`${row.metadata.namespace}/${owner.name}`] : []
}

const workloadControllers = (v: Views): readonly Controller[] => [
  ofDeployments(v),
  ofReplicaSets(v),
  ofDaemonSets(v),
  ofJobs(v),
  ...v.notRun.map(ofRowsNotRun),
]

function ofDeployments(v: Views): Controller {
  const deploymentOfPod = (pod: KubeObject) =>
    ownerKey('ReplicaSet')(pod).flatMap((key) => {
      const set = v.sets.get(key)
      return set ? ownerKey('Deployment')(set) : []
    })
  return {
    name: 'deployment',
    sources: [on(v.deployments, own), on(v.sets, ownerKey('Deployment')), on(v.pods, deploymentOfPod)],
    plan: (key, now) => {
      const deployment = v.deployments.get(key)
      if (!deployment) return []
      const sets = v.setsByOwner.lookup(deployment.metadata.uid ?? '')
      const running = sets.flatMap(({ metadata }) => v.podsByOwner.lookup(metadata.uid ?? ''))
      return deploymentPlan({ deployment, sets, pods: running }, now)
    },
  }
}

const ofReplicaSets = (v: Views): Controller => ({
  name: 'replicaset',
  sources: [on(v.sets, own), on(v.pods, ownerKey('ReplicaSet'))],
  plan: (key, now) => {
    const set = v.sets.get(key)
    return set ? replicaSetPlan(set, v.podsByOwner.lookup(set.metadata.uid ?? ''), now) : []
  },
})

const ofDaemonSets = (v: Views): Controller => ({
  name: 'daemonset',
  sources: [
    on(v.daemons, own),
    on(v.pods, ownerKey('DaemonSet')),
    on(v.nodes, () => v.daemons.list().map(keyOf)),
  ],
  plan: (key, now) => {
    const set = v.daemons.get(key)
    return set ? daemonSetPlan(set, v.nodes.list(), v.podsByOwner.lookup(set.metadata.uid ?? ''), now) : []
  },
})

const ofJobs = (v: Views): Controller => ({
  name: 'job',
  sources: [on(v.jobs, own), on(v.pods, ownerKey('Job'))],
  plan: (key, now) => {
    const job = v.jobs.get(key)
    return job ? jobPlan(job, v.podsByOwner.lookup(job.metadata.uid ?? ''), now) : []
  },
})

const ofRowsNotRun = (rows: Views['notRun'][number]): Controller => ({
  name: `${rows.name} (not run)`,
  sources: [on(rows, own)],
  plan: (key) => {
    const row = rows.get(key)
    if (!row || row.metadata.deletionTimestamp !== undefined) return []
    return [warning(row, 'NotRun', `The sandbox has no controller for ${row.kind}: no pods will be made`)]
  },
})

function placementControllers(v: Views, reachableSince: () => Date): readonly Controller[] {
  const waiting = () => v.podsByNode.lookup('').filter(isWaiting).map(keyOf)
  const leaves = (pod: SchedulablePod) =>
    pod.spec?.nodeName && pod.metadata.deletionTimestamp ? waiting() : []
  return [
    {
      name: 'scheduler',
      // One at a time: each placement counts the ones before.
      concurrency: 1,
      sources: [on(v.pods, (pod) => (isWaiting(pod) ? own(pod) : leaves(pod))), on(v.nodes, waiting)],
      plan: (key, now) => {
        const pod = v.pods.get(key)
        return pod ? schedulePlan(pod, v.nodes.list(), v.pods.list(), now) : []
      },
    },
    {
      name: 'node-lifecycle',
      sources: [on(v.nodes, own), on(v.leases, ({ metadata }) => [metadata.name ?? ''])],
      plan: (key, now) => {
        const node = v.nodes.get(key)
        if (!node) return []
        return nodeLifecyclePlan(
          node,
          v.leases.get(`kube-node-lease/${key}`),
          v.podsByNode.lookup(key),
          now,
          reachableSince(),
        )
      },
    },
    {
      name: 'pod-gc',
      sources: [
        on(v.pods, own),
        on(v.nodes, ({ metadata }) => v.podsByNode.lookup(metadata.name ?? '').map(keyOf)),
      ],
      plan: (key) => {
        const pod = v.pods.get(key)
        return pod ? podGcPlan(pod, (name) => v.nodes.get(name) !== undefined) : []
      },
    },
  ]
}

function clusterControllers(v: Views, { config, rootPem }: ControllerOptions): readonly Controller[] {
  const zoneOf = (node: string) => v.nodes.get(node)?.metadata.labels?.['topology.kubernetes.io/zone']
  const fixed = new Map(clusterServices(config).map((service) => [keyOf(service), service]))
  const owned = (row: KubeObject) => (row.metadata.namespace === undefined ? [] : [row.metadata.namespace])
  return [
    {
      name: 'endpointslice',
      sources: [
        on(v.services, own),
        on(v.slices, (slice) => [serviceKeyOf(slice)]),
        on(v.pods, ({ metadata }) => v.servicesByNamespace.lookup(metadata.namespace ?? '').map(keyOf)),
      ],
      plan: (key) => {
        const service = v.services.get(key)
        if (!service) return []
        const candidates = v.podsByNamespace.lookup(service.metadata.namespace ?? '')
        return endpointSlicePlan(service, candidates, v.slicesByService.lookup(key), zoneOf)
      },
    },
    {
      name: 'namespace-contents',
      sources: [on(v.namespaces, own), on(v.accounts, owned), on(v.roots, owned)],
      plan: (key) => {
        const namespace = v.namespaces.get(key)
        if (!namespace) return []
        return namespacePlan(
          namespace,
          v.accounts.get(`${key}/default`),
          v.roots.get(`${key}/${rootConfigMap}`),
          rootPem,
        )
      },
    },
    {
      name: 'cluster-objects',
      sources: [
        on(v.services, (service) => own(service).filter((key) => fixed.has(key))),
        on(v.namespaces, () => [...fixed.keys()]),
      ],
      plan: (key) => {
        const wanted = fixed.get(key)
        if (!wanted || !v.namespaces.get(wanted.metadata.namespace ?? '')) return []
        return clusterObjectsPlan(wanted, config, v.services.get(key), v.slices.get(key))
      },
    },
  ]
}

/** Runs every controller until disposed. Resolves when all of them have seen the cluster once. */
export async function startControllers(options: ControllerOptions): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack()
  const closing = stack.adopt(new AbortController(), (controller) => controller.abort())
  const signal = AbortSignal.any([options.signal, closing.signal])
  const views = watchAll({ ...options, signal })
  const { log, now = () => new Date() } = options
  const watched = [
    views.deployments,
    views.sets,
    views.daemons,
    views.jobs,
    views.pods,
    views.nodes,
    views.services,
    views.slices,
    views.leases,
    views.namespaces,
    views.accounts,
    views.roots,
  ]
  // Plans made before everything is known would make what is there already.
  signal.throwIfAborted()
  await Promise.race([Promise.all(watched.map(({ synced }) => synced)), once(signal, 'abort')])
  signal.throwIfAborted()
  const collections = new Map<string, Collection<KubeObject>>(watched.map((rows) => [rows.name, rows]))
  const world: World = { client: options.client, collections, log, now }
  const reachability = stack.use(watchReachability(options.client, now, signal))
  const all = [
    ...workloadControllers(views),
    ...placementControllers(views, reachability.since),
    ...clusterControllers(views, options),
  ]
  for (const controller of all) stack.use(runController(controller, world, signal))
  return stack.move()
}
