/**
 * Fixed defaults that Kubernetes sets in code (pkg/apis/<group>/<version>/defaults.go), by definition and field.
 * Those that depend on other fields are in dependent-defaults.ts.
 */
export const defaultValues: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  ...inGroup('core.v1', {
    PodSpec: {
      restartPolicy: 'Always',
      dnsPolicy: 'ClusterFirst',
      schedulerName: 'default-scheduler',
      terminationGracePeriodSeconds: 30,
      securityContext: {},
    },
    Container: container(),
    EphemeralContainer: container(),
    Probe: { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 },
    HTTPGetAction: { path: '/', scheme: 'HTTP' },
    ObjectFieldSelector: { apiVersion: 'v1' },
    SecretVolumeSource: { defaultMode: 420 },
    ConfigMapVolumeSource: { defaultMode: 420 },
    DownwardAPIVolumeSource: { defaultMode: 420 },
    ProjectedVolumeSource: { defaultMode: 420 },
    ServiceAccountTokenProjection: { expirationSeconds: 3600 },
    HostPathVolumeSource: { type: '' },
    ServiceSpec: { type: 'ClusterIP', sessionAffinity: 'None' },
    ServicePort: { protocol: 'TCP' },
    Service: { status: { loadBalancer: {} } },
    EndpointPort: { protocol: 'TCP' },
    Secret: { type: 'Opaque' },
    NamespaceStatus: { phase: 'Active' },
    ReplicationControllerSpec: { replicas: 1 },
    PersistentVolumeSpec: { persistentVolumeReclaimPolicy: 'Retain', volumeMode: 'Filesystem' },
    PersistentVolumeClaimSpec: { volumeMode: 'Filesystem' },
  }),
  ...inGroup('apps.v1', {
    DeploymentSpec: {
      replicas: 1,
      strategy: { type: 'RollingUpdate' },
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
    },
    DeploymentStrategy: { type: 'RollingUpdate' },
    RollingUpdateDeployment: { maxUnavailable: '25%', maxSurge: '25%' },
    ReplicaSetSpec: { replicas: 1 },
    DaemonSetSpec: { updateStrategy: { type: 'RollingUpdate' }, revisionHistoryLimit: 10 },
    DaemonSetUpdateStrategy: { type: 'RollingUpdate' },
    RollingUpdateDaemonSet: { maxUnavailable: 1, maxSurge: 0 },
    StatefulSetSpec: {
      replicas: 1,
      podManagementPolicy: 'OrderedReady',
      updateStrategy: { type: 'RollingUpdate' },
      revisionHistoryLimit: 10,
      persistentVolumeClaimRetentionPolicy: {},
    },
    StatefulSetUpdateStrategy: { type: 'RollingUpdate' },
    RollingUpdateStatefulSetStrategy: { partition: 0 },
    StatefulSetPersistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
  }),
  ...inGroup('batch.v1', {
    JobSpec: {
      parallelism: 1,
      backoffLimit: 6,
      completionMode: 'NonIndexed',
      suspend: false,
      manualSelector: false,
      podReplacementPolicy: 'TerminatingOrFailed',
    },
    CronJobSpec: {
      concurrencyPolicy: 'Allow',
      suspend: false,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 1,
    },
  }),
  ...inGroup('discovery.v1', { EndpointPort: { name: '', protocol: 'TCP' } }),
  ...inGroup('rbac.v1', { RoleRef: { apiGroup: 'rbac.authorization.k8s.io' } }),
  ...inGroup('admissionregistration.v1', {
    ValidatingWebhook: webhook(),
    MutatingWebhook: { ...webhook(), reinvocationPolicy: 'Never' },
    RuleWithOperations: { scope: '*' },
    NamedRuleWithOperations: { scope: '*' },
    ServiceReference: { port: 443 },
    ValidatingAdmissionPolicySpec: { failurePolicy: 'Fail' },
    MatchResources: { matchPolicy: 'Equivalent', namespaceSelector: {}, objectSelector: {} },
  }),
  ...inGroup('autoscaling.v2', { HorizontalPodAutoscalerSpec: { minReplicas: 1 } }),
  ...inGroup('networking.v1', { NetworkPolicyPort: { protocol: 'TCP' } }),
  ...inGroup('scheduling.v1', { PriorityClass: { preemptionPolicy: 'PreemptLowerPriority' } }),
  ...inGroup('storage.v1', { StorageClass: { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' } }),
  ...inGroup('authentication.v1', { TokenRequestSpec: { expirationSeconds: 3600 } }),
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec': {
    conversion: { strategy: 'None' },
  },
}

function inGroup<T>(group: string, types: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(types).map(([type, fields]) => [`io.k8s.api.${group}.${type}`, fields]),
  )
}

function container() {
  return {
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    resources: {},
  }
}

function webhook() {
  return {
    failurePolicy: 'Fail',
    matchPolicy: 'Equivalent',
    namespaceSelector: {},
    objectSelector: {},
    timeoutSeconds: 10,
  }
}
