import type { Condition, Container, Kind, KubeNode, KubeObject, Metadata, Pod } from '#kube'

/** The shapes of `apps/v1` that the controllers read and write; the API server vouches for them. */
export type LabelSelector = Readonly<{
  matchLabels?: Readonly<Record<string, string>>
  matchExpressions?: readonly Expression[]
}>
export type Expression = Readonly<{ key: string; operator: string; values?: readonly string[] }>

export type PodTemplate = Readonly<{ metadata?: Metadata; spec?: PodSpec }>
export type NodeSelectorTerm = Readonly<{
  matchExpressions?: readonly Expression[]
  matchFields?: readonly Expression[]
}>
export type Toleration = Readonly<{ key?: string; operator?: string; value?: string; effect?: string }>
export type AffinityTerm = Readonly<{
  labelSelector?: LabelSelector
  topologyKey: string
  namespaces?: readonly string[]
}>
type Affinity = Readonly<{
  nodeAffinity?: Readonly<{
    requiredDuringSchedulingIgnoredDuringExecution?: Readonly<{
      nodeSelectorTerms?: readonly NodeSelectorTerm[]
    }>
  }>
  podAntiAffinity?: Readonly<{ requiredDuringSchedulingIgnoredDuringExecution?: readonly AffinityTerm[] }>
}>
export type PodSpec = NonNullable<Pod['spec']> &
  Readonly<{
    affinity?: Affinity
    schedulerName?: string
    schedulingGates?: readonly unknown[]
    containers?: readonly Container[]
  }>

/** A replica count, or a percentage of one. */
export type IntOrPercent = number | string

export type Deployment = KubeObject &
  Readonly<{
    spec?: Readonly<{
      replicas?: number
      paused?: boolean
      selector?: LabelSelector
      template?: PodTemplate
      minReadySeconds?: number
      revisionHistoryLimit?: number
      progressDeadlineSeconds?: number
      strategy?: Readonly<{
        type?: string
        rollingUpdate?: Readonly<{ maxSurge?: IntOrPercent; maxUnavailable?: IntOrPercent }>
      }>
    }>
    status?: DeploymentStatus
  }>
export type DeploymentCondition = Condition & Readonly<{ lastUpdateTime?: string }>
export type DeploymentStatus = Readonly<{
  observedGeneration?: number
  replicas?: number
  updatedReplicas?: number
  readyReplicas?: number
  availableReplicas?: number
  unavailableReplicas?: number
  conditions?: readonly DeploymentCondition[]
}>

export type ReplicaSet = KubeObject &
  Readonly<{
    spec?: Readonly<{
      replicas?: number
      selector?: LabelSelector
      template?: PodTemplate
      minReadySeconds?: number
    }>
    status?: ReplicaSetStatus
  }>
export type ReplicaSetStatus = Readonly<{
  observedGeneration?: number
  replicas?: number
  fullyLabeledReplicas?: number
  readyReplicas?: number
  availableReplicas?: number
}>

export type DaemonSet = KubeObject &
  Readonly<{
    spec?: Readonly<{
      selector?: LabelSelector
      template?: PodTemplate
      minReadySeconds?: number
      updateStrategy?: Readonly<{
        type?: string
        rollingUpdate?: Readonly<{ maxSurge?: IntOrPercent; maxUnavailable?: IntOrPercent }>
      }>
    }>
    status?: DaemonSetStatus
  }>
export type DaemonSetStatus = Readonly<{
  observedGeneration?: number
  currentNumberScheduled?: number
  desiredNumberScheduled?: number
  numberMisscheduled?: number
  numberReady?: number
  numberAvailable?: number
  numberUnavailable?: number
  updatedNumberScheduled?: number
}>

export type Job = KubeObject &
  Readonly<{
    spec?: Readonly<{
      parallelism?: number
      completions?: number
      completionMode?: string
      backoffLimit?: number
      activeDeadlineSeconds?: number
      ttlSecondsAfterFinished?: number
      suspend?: boolean
      template?: PodTemplate
    }>
    status?: JobStatus
  }>
export type JobStatus = Readonly<{
  active?: number
  ready?: number
  succeeded?: number
  failed?: number
  startTime?: string
  completionTime?: string
  conditions?: readonly Condition[]
}>

/** A pod with what the scheduler reads of it. */
export type SchedulablePod = Omit<Pod, 'spec'> & Readonly<{ spec?: PodSpec }>
export type Taint = NonNullable<NonNullable<KubeNode['spec']>['taints']>[number]
/** A node with how many pods it takes. */
export type SchedulableNode = Omit<KubeNode, 'status'> &
  Readonly<{ status?: KubeNode['status'] & Readonly<{ allocatable?: Readonly<Record<string, string>> }> }>

/** The kinds that the controllers write, with our shapes. */
export const deployments: Kind<Deployment> = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  plural: 'deployments',
  namespaced: true,
}
export const replicaSets: Kind<ReplicaSet> = {
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  plural: 'replicasets',
  namespaced: true,
}
export const daemonSets: Kind<DaemonSet> = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  plural: 'daemonsets',
  namespaced: true,
}
export const jobs: Kind<Job> = { apiVersion: 'batch/v1', kind: 'Job', plural: 'jobs', namespaced: true }
export const pods: Kind<SchedulablePod> = { apiVersion: 'v1', kind: 'Pod', plural: 'pods', namespaced: true }
export const nodes: Kind<SchedulableNode> = {
  apiVersion: 'v1',
  kind: 'Node',
  plural: 'nodes',
  namespaced: false,
}
