import type { KubeObject } from '#kube'

/** How large the mesh is. */
export type Size = Readonly<{ pods: number; services: number; nodes: number }>
/** One object of the API server, as it would send it. */
export type Stored = KubeObject & Readonly<Record<string, unknown>>

const perNamespace = 20
const hex = (n: number, length: number) =>
  (Math.imul(n, 2_654_435_761) >>> 0).toString(16).slice(-length).padStart(length, '0')
const octets = (n: number) => `${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`
const created = '2026-11-01T08:00:00Z'

export const namespaceOfService = (service: number): string => `team-${Math.floor(service / perNamespace)}`
export const serviceName = (service: number): string => `service-${service}`
export const nodeName = (node: number): string => `node-${node}.cluster.internal`
/** Names as a Deployment gives them; `life` counts the pods that had this place before. */
export const podName = (n: number, { services }: Size, life = 0): string =>
  `${serviceName(n % services)}-${hex(n % services, 9)}-${hex(n * 31 + life * 7919, 5)}`

/** What happened to a pod since the mesh was made. */
export type PodState = Readonly<{ life: number; revision: number; ready: boolean }>
export const firstState: PodState = { life: 0, revision: 0, ready: true }

/** Each life has an address of its own. */
const podIp = (n: number, life: number, { pods }: Size): string =>
  `10.${octets(65_536 + ((n + life * pods) % 8_000_000))}`

/** A pod of a Deployment, enrolled, with everything beside it that an API server sends: about 7 KiB of JSON. */
export function podObject(n: number, state: PodState, size: Size): Stored {
  const service = n % size.services
  const app = serviceName(service)
  const ip = podIp(n, state.life, size)
  const name = podName(n, size, state.life)
  const hash = hex(service, 9)
  // Fields of a real pod that no type of ours names.
  const unread = { generateName: `${app}-${hash}-`, managedFields: managedFields() }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...unread,
      name,
      namespace: namespaceOfService(service),
      uid: `${hex(n, 8)}-${hex(state.life, 4)}-4000-8000-${hex(n + 1, 12)}`,
      creationTimestamp: created,
      labels: {
        app,
        version: `v${state.revision}`,
        'app.kubernetes.io/name': app,
        'app.kubernetes.io/part-of': 'shop',
        'pod-template-hash': hash,
      },
      annotations: {
        'ambient.istio.io/redirection': 'enabled',
        'prometheus.io/scrape': 'true',
        'prometheus.io/port': '9090',
        'kubectl.kubernetes.io/restartedAt': created,
      },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${app}-${hash}`,
          uid: `${hex(service, 8)}-0000-4000-8000-${hex(service + 1, 12)}`,
          controller: true,
        },
      ],
    },
    spec: podSpec(app, nodeName(n % size.nodes)),
    status: podStatus(ip, n % size.nodes, state.ready),
  }
}

/** Who wrote which field: a third of what a pod is on the wire, and of no use to us. */
const managedFields = () => [
  {
    manager: 'kube-controller-manager',
    operation: 'Update',
    apiVersion: 'v1',
    time: created,
    fieldsType: 'FieldsV1',
    fieldsV1: {
      'f:metadata': {
        'f:annotations': { '.': {}, 'f:prometheus.io/scrape': {}, 'f:prometheus.io/port': {} },
        'f:generateName': {},
        'f:labels': { '.': {}, 'f:app': {}, 'f:pod-template-hash': {}, 'f:version': {} },
        'f:ownerReferences': { '.': {}, 'k:{"uid":"00000000-0000-4000-8000-000000000000"}': {} },
      },
      'f:spec': {
        'f:containers': {
          'k:{"name":"app"}': {
            '.': {},
            'f:env': { '.': {}, 'k:{"name":"LOG_LEVEL"}': { '.': {}, 'f:name': {}, 'f:value': {} } },
            'f:image': {},
            'f:imagePullPolicy': {},
            'f:livenessProbe': {
              '.': {},
              'f:failureThreshold': {},
              'f:httpGet': { 'f:path': {}, 'f:port': {} },
            },
            'f:name': {},
            'f:ports': {
              '.': {},
              'k:{"containerPort":8080,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} },
            },
            'f:resources': { '.': {}, 'f:limits': { 'f:cpu': {}, 'f:memory': {} }, 'f:requests': {} },
            'f:terminationMessagePath': {},
          },
        },
        'f:dnsPolicy': {},
        'f:restartPolicy': {},
        'f:schedulerName': {},
        'f:serviceAccountName': {},
      },
    },
  },
  {
    manager: 'kubelet',
    operation: 'Update',
    apiVersion: 'v1',
    time: created,
    fieldsType: 'FieldsV1',
    subresource: 'status',
    fieldsV1: {
      'f:status': {
        'f:conditions': {
          'k:{"type":"ContainersReady"}': { '.': {}, 'f:lastTransitionTime': {}, 'f:status': {} },
          'k:{"type":"Initialized"}': { '.': {}, 'f:lastTransitionTime': {}, 'f:status': {} },
          'k:{"type":"Ready"}': { '.': {}, 'f:lastTransitionTime': {}, 'f:status': {} },
        },
        'f:containerStatuses': {},
        'f:hostIP': {},
        'f:phase': {},
        'f:podIP': {},
        'f:podIPs': { '.': {}, 'k:{"ip":"10.1.0.1"}': { '.': {}, 'f:ip': {} } },
        'f:startTime': {},
      },
    },
  },
]

const probe = (path: string) => ({
  httpGet: { path, port: 8080, scheme: 'HTTP' },
  periodSeconds: 10,
  timeoutSeconds: 1,
  successThreshold: 1,
  failureThreshold: 3,
})

const env = Array.from({ length: 10 }, (_, i) => ({
  name: `SETTING_${i}`,
  value: `https://backend-${i}.shop.svc:8443`,
}))

const podSpec = (app: string, node: string) => ({
  containers: [
    {
      name: 'app',
      image: `registry.internal/shop/${app}:1.14.2`,
      imagePullPolicy: 'IfNotPresent',
      args: ['--listen=:8080', '--metrics=:9090', `--service=${app}`],
      env,
      ports: [
        { name: 'http', containerPort: 8080, protocol: 'TCP' },
        { name: 'metrics', containerPort: 9090, protocol: 'TCP' },
      ],
      resources: { limits: { cpu: '1', memory: '512Mi' }, requests: { cpu: '100m', memory: '128Mi' } },
      volumeMounts: [
        { name: 'config', mountPath: '/etc/shop' },
        {
          name: 'kube-api-access',
          readOnly: true,
          mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
        },
      ],
      livenessProbe: probe('/healthz'),
      readinessProbe: probe('/ready'),
      terminationMessagePath: '/dev/termination-log',
      terminationMessagePolicy: 'File',
      securityContext: {
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
        runAsNonRoot: true,
      },
    },
  ],
  restartPolicy: 'Always',
  terminationGracePeriodSeconds: 30,
  dnsPolicy: 'ClusterFirst',
  serviceAccountName: app,
  serviceAccount: app,
  nodeName: node,
  securityContext: {},
  schedulerName: 'default-scheduler',
  priority: 0,
  enableServiceLinks: true,
  preemptionPolicy: 'PreemptLowerPriority',
  tolerations: ['not-ready', 'unreachable'].map((key) => ({
    key: `node.kubernetes.io/${key}`,
    operator: 'Exists',
    effect: 'NoExecute',
    tolerationSeconds: 300,
  })),
  volumes: [
    { name: 'config', configMap: { name: app, defaultMode: 420 } },
    {
      name: 'kube-api-access',
      projected: {
        defaultMode: 420,
        sources: [
          { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
          { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        ],
      },
    },
  ],
})

const podStatus = (ip: string, node: number, ready: boolean) => ({
  phase: 'Running',
  conditions: ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(
    (type) => ({
      type,
      status: ready || !type.includes('Ready') ? 'True' : 'False',
      lastProbeTime: null,
      lastTransitionTime: created,
    }),
  ),
  hostIP: `172.16.${node >> 8}.${node & 255}`,
  hostIPs: [{ ip: `172.16.${node >> 8}.${node & 255}` }],
  podIP: ip,
  podIPs: [{ ip }],
  startTime: created,
  containerStatuses: [
    {
      name: 'app',
      state: { running: { startedAt: created } },
      lastState: {},
      ready,
      restartCount: 0,
      image: 'registry.internal/shop/app:1.14.2',
      imageID: `registry.internal/shop/app@sha256:${'ab'.repeat(32)}`,
      containerID: `containerd://${'cd'.repeat(32)}`,
      started: true,
    },
  ],
  qosClass: 'Burstable',
})

export const serviceObject = (n: number): Stored => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: {
    name: serviceName(n),
    namespace: namespaceOfService(n),
    uid: `${hex(n, 8)}-5e4c-4000-8000-${hex(n, 12)}`,
    creationTimestamp: created,
    labels: { app: serviceName(n) },
  },
  spec: {
    type: 'ClusterIP',
    clusterIP: `10.${octets((200 << 16) + n + 1)}`,
    clusterIPs: [`10.${octets((200 << 16) + n + 1)}`],
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
    selector: { app: serviceName(n) },
    ports: [
      { name: 'http', port: 80, targetPort: 'http', protocol: 'TCP' },
      { name: 'metrics', port: 9090, targetPort: 9090, protocol: 'TCP' },
    ],
    sessionAffinity: 'None',
    internalTrafficPolicy: 'Cluster',
  },
  status: { loadBalancer: {} },
})

/** The endpoints of one Service, as the cluster's own controller writes them. */
export const sliceObject = (service: number, states: readonly PodState[], size: Size): Stored => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    name: `${serviceName(service)}-x7k2p`,
    namespace: namespaceOfService(service),
    uid: `${hex(service, 8)}-511c-4000-8000-${hex(service, 12)}`,
    creationTimestamp: created,
    labels: {
      app: serviceName(service),
      'kubernetes.io/service-name': serviceName(service),
      'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
    },
  },
  addressType: 'IPv4',
  endpoints: placesOf(service, states.length, size).map((n) => {
    const { life, ready } = states[n] ?? firstState
    return {
      addresses: [podIp(n, life, size)],
      conditions: { ready, serving: ready, terminating: false },
      nodeName: nodeName(n % size.nodes),
      targetRef: { kind: 'Pod', namespace: namespaceOfService(service), name: podName(n, size, life) },
    }
  }),
  ports: [
    { name: 'http', port: 8080, protocol: 'TCP' },
    { name: 'metrics', port: 9090, protocol: 'TCP' },
  ],
})

/** The numbers of a Service's pods. */
const placesOf = (service: number, pods: number, { services }: Size): number[] =>
  Array.from({ length: Math.ceil((pods - service) / services) }, (_, i) => service + i * services)

/** Namespaces, nodes and policies: what the rest of the mesh stands on. */
export const ground = ({ services, nodes }: Size): readonly Stored[] => {
  const namespaces = Math.ceil(services / perNamespace)
  const names = ['istio-system', ...Array.from({ length: namespaces }, (_, n) => `team-${n}`)]
  return [
    ...names.map((name) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, uid: `ns-${name}`, labels: { 'istio.io/dataplane-mode': 'ambient' } },
      status: { phase: 'Active' },
    })),
    ...Array.from({ length: nodes }, (_, n) => ({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name: nodeName(n),
        uid: `node-${n}`,
        labels: { 'topology.kubernetes.io/region': 'r1', 'topology.kubernetes.io/zone': `r1-${n % 3}` },
      },
    })),
    ...Array.from({ length: namespaces }, (_, n) => ({
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'callers', namespace: `team-${n}`, uid: `policy-${n}` },
      spec: {
        action: 'ALLOW',
        rules: [{ from: [{ source: { namespaces: [`team-${n}`, 'istio-system'] } }] }],
      },
    })),
  ]
}
