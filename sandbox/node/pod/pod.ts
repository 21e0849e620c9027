import { z } from 'zod'

/**
 * A pod as the node agent reads it: the parts that it acts on, with Kubernetes' own defaults where the API server
 * left a field out. Everything else in the object is passed over.
 */
const KeyPath = z.object({ key: z.string(), path: z.string(), mode: z.number().optional() })
const FieldRef = z.object({ fieldPath: z.string() })
const ResourceRef = z.object({
  resource: z.string(),
  containerName: z.string().optional(),
  divisor: z.union([z.string(), z.number()]).optional(),
})
const KeyRef = z.object({
  name: z.string().default(''),
  key: z.string(),
  optional: z.boolean().default(false),
})
const SetRef = z.object({ name: z.string().default(''), optional: z.boolean().default(false) })
const EnvVar = z.object({
  name: z.string(),
  value: z.string().optional(),
  valueFrom: z
    .object({
      fieldRef: FieldRef.optional(),
      resourceFieldRef: ResourceRef.optional(),
      configMapKeyRef: KeyRef.optional(),
      secretKeyRef: KeyRef.optional(),
    })
    .optional(),
})
const EnvFrom = z.object({
  prefix: z.string().default(''),
  configMapRef: SetRef.optional(),
  secretRef: SetRef.optional(),
})
const Port = z.union([z.number(), z.string()])
const Handler = {
  exec: z.object({ command: z.array(z.string()).default([]) }).optional(),
  httpGet: z
    .object({
      path: z.string().default('/'),
      port: Port,
      host: z.string().optional(),
      scheme: z.string().default('HTTP'),
      httpHeaders: z.array(z.object({ name: z.string(), value: z.string() })).default([]),
    })
    .optional(),
  tcpSocket: z.object({ port: Port, host: z.string().optional() }).optional(),
}
/** Go takes 0 for unset; less than that would ask without a pause, or be content with nothing. */
const positive = (fallback: number) =>
  z
    .number()
    .default(fallback)
    .transform((n) => (n > 0 ? n : fallback))
const Probe = z.object({
  ...Handler,
  grpc: z.object({ port: z.number() }).optional(),
  initialDelaySeconds: z.number().default(0),
  periodSeconds: positive(10),
  timeoutSeconds: positive(1),
  successThreshold: positive(1),
  failureThreshold: positive(3),
})
const SecurityContext = z.object({
  runAsUser: z.number().optional(),
  runAsGroup: z.number().optional(),
  fsGroup: z.number().optional(),
  supplementalGroups: z.array(z.number()).default([]),
  privileged: z.boolean().default(false),
  readOnlyRootFilesystem: z.boolean().default(false),
  capabilities: z
    .object({ add: z.array(z.string()).default([]), drop: z.array(z.string()).default([]) })
    .prefault({}),
})
const Quantities = z.record(z.string(), z.union([z.string(), z.number()])).default({})
const Container = z.object({
  name: z.string(),
  image: z.string().default(''),
  command: z.array(z.string()).default([]),
  args: z.array(z.string()).default([]),
  workingDir: z.string().optional(),
  env: z.array(EnvVar).default([]),
  envFrom: z.array(EnvFrom).default([]),
  ports: z
    .array(
      z.object({
        name: z.string().optional(),
        containerPort: z.number(),
        hostPort: z.number().optional(),
        hostIP: z.string().optional(),
        protocol: z.string().default('TCP'),
      }),
    )
    .default([]),
  volumeMounts: z
    .array(
      z.object({
        name: z.string(),
        mountPath: z.string(),
        subPath: z.string().default(''),
        subPathExpr: z.string().default(''),
        readOnly: z.boolean().default(false),
        mountPropagation: z.string().default('None'),
      }),
    )
    .default([]),
  resources: z.object({ limits: Quantities, requests: Quantities }).prefault({}),
  readinessProbe: Probe.optional(),
  livenessProbe: Probe.optional(),
  startupProbe: Probe.optional(),
  lifecycle: z
    .object({
      preStop: z.object({ ...Handler, sleep: z.object({ seconds: z.number() }).optional() }).optional(),
    })
    .prefault({}),
  /** Only `Always`, and only on an init container: it then runs beside the others. */
  restartPolicy: z.string().optional(),
  securityContext: SecurityContext.prefault({}),
})
const Projection = z.object({
  serviceAccountToken: z
    .object({
      audience: z.string().optional(),
      expirationSeconds: z.number().default(3600),
      path: z.string(),
    })
    .optional(),
  configMap: z
    .object({
      name: z.string().default(''),
      items: z.array(KeyPath).optional(),
      optional: z.boolean().default(false),
    })
    .optional(),
  secret: z
    .object({
      name: z.string().default(''),
      items: z.array(KeyPath).optional(),
      optional: z.boolean().default(false),
    })
    .optional(),
  downwardAPI: z
    .object({
      items: z
        .array(
          z.object({
            path: z.string(),
            fieldRef: FieldRef.optional(),
            resourceFieldRef: ResourceRef.optional(),
            mode: z.number().optional(),
          }),
        )
        .default([]),
    })
    .optional(),
})
const Volume = z.looseObject({
  name: z.string(),
  emptyDir: z.object({ medium: z.string().optional() }).optional(),
  hostPath: z.object({ path: z.string(), type: z.string().default('') }).optional(),
  configMap: Projection.shape.configMap
    .unwrap()
    .extend({ defaultMode: z.number().default(0o644) })
    .optional(),
  secret: z
    .object({
      secretName: z.string().default(''),
      items: z.array(KeyPath).optional(),
      optional: z.boolean().default(false),
      defaultMode: z.number().default(0o644),
    })
    .optional(),
  downwardAPI: Projection.shape.downwardAPI
    .unwrap()
    .extend({ defaultMode: z.number().default(0o644) })
    .optional(),
  projected: z
    .object({ sources: z.array(Projection).default([]), defaultMode: z.number().default(0o644) })
    .optional(),
})
const NodePod = z.object({
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    uid: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).default({}),
    creationTimestamp: z.string().optional(),
    deletionTimestamp: z.string().optional(),
    deletionGracePeriodSeconds: z.number().optional(),
  }),
  spec: z.object({
    nodeName: z.string(),
    hostNetwork: z.boolean().default(false),
    hostPID: z.boolean().default(false),
    hostname: z.string().optional(),
    subdomain: z.string().optional(),
    serviceAccountName: z.string().default('default'),
    restartPolicy: z.enum(['Always', 'OnFailure', 'Never']).default('Always'),
    terminationGracePeriodSeconds: z.number().default(30),
    dnsPolicy: z.string().default('ClusterFirst'),
    dnsConfig: z
      .object({
        nameservers: z.array(z.string()).default([]),
        searches: z.array(z.string()).default([]),
        options: z.array(z.object({ name: z.string(), value: z.string().optional() })).default([]),
      })
      .prefault({}),
    hostAliases: z
      .array(z.object({ ip: z.string(), hostnames: z.array(z.string()).default([]) }))
      .default([]),
    securityContext: SecurityContext.prefault({}),
    initContainers: z.array(Container).default([]),
    containers: z.array(Container).default([]),
    volumes: z.array(Volume).default([]),
    readinessGates: z.array(z.object({ conditionType: z.string() })).default([]),
  }),
  status: z
    .looseObject({
      phase: z.string().optional(),
      startTime: z.string().optional(),
      conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).default([]),
    })
    .prefault({}),
})

export type NodePod = Readonly<z.infer<typeof NodePod>>
export type PodContainer = Readonly<z.infer<typeof Container>>
export type PodVolume = Readonly<z.infer<typeof Volume>>
export type PodProbe = Readonly<z.infer<typeof Probe>>
export type VolumeSource = Readonly<z.infer<typeof Projection>>
export type Variable = Readonly<z.infer<typeof EnvVar>>
export type KeyToPath = Readonly<z.infer<typeof KeyPath>>

/** An API server's pod as the node agent reads it, or why it cannot be read. */
export function parsePod(object: unknown): NodePod | { readonly reject: string } {
  const parsed = NodePod.safeParse(object)
  return parsed.success ? parsed.data : { reject: z.prettifyError(parsed.error) }
}

/** `namespace/name`, for logs and events. */
export const podKey = ({ metadata }: NodePod): string => `${metadata.namespace}/${metadata.name}`
