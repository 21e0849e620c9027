import { isRecord } from '#base'
import { change, changeEach, type Fields, fill } from './fields.ts'

/** Kubernetes' defaults of a pod spec (core/v1 defaults.go), for pods and the templates of workloads alike. */
export function defaultPodSpec(spec: Fields): Fields {
  const hostNetwork = spec['hostNetwork'] === true
  const container = (item: Fields) => defaultContainer(item, hostNetwork)
  const account = spec['serviceAccountName'] ?? spec['serviceAccount']
  const filled = fill(spec, {
    restartPolicy: 'Always',
    dnsPolicy: 'ClusterFirst',
    terminationGracePeriodSeconds: 30,
    schedulerName: 'default-scheduler',
    securityContext: {},
    enableServiceLinks: true,
    ...(typeof account === 'string' && account !== ''
      ? { serviceAccountName: account, serviceAccount: account }
      : {}),
  })
  return changeEach(
    changeEach(changeEach(filled, 'containers', container), 'initContainers', container),
    'volumes',
    defaultVolume,
  )
}

/** The same for an object that holds a pod template at `spec.template`. */
export const defaultTemplate = (template: unknown): unknown =>
  isRecord(template)
    ? change(fill(template, { metadata: {} }), 'spec', (spec) =>
        isRecord(spec) ? defaultPodSpec(spec) : spec,
      )
    : template

function defaultContainer(container: Fields, hostNetwork: boolean): Fields {
  const filled = fill(container, {
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: pullPolicy(container['image']),
    resources: {},
  })
  const probes = ['livenessProbe', 'readinessProbe', 'startupProbe'].reduce(
    (value, probe) => change(value, probe, defaultProbe),
    filled,
  )
  const withEnv = changeEach(probes, 'env', (variable) =>
    change(variable, 'valueFrom', (from) =>
      isRecord(from) ? change(from, 'fieldRef', (ref) => fill(ref, { apiVersion: 'v1' })) : from,
    ),
  )
  return changeEach(withEnv, 'ports', (port) =>
    fill(port, {
      protocol: 'TCP',
      ...(hostNetwork && port['containerPort'] !== undefined ? { hostPort: port['containerPort'] } : {}),
    }),
  )
}

/** No tag and `:latest` are pulled always; a digest or another tag is not. */
function pullPolicy(image: unknown): string {
  const text = typeof image === 'string' ? image : ''
  if (text.includes('@')) return 'IfNotPresent'
  const tag = /:([^:/]+)$/.exec(text)?.[1]
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent'
}

function defaultProbe(probe: unknown): unknown {
  const filled = fill(probe, {
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  })
  const withHttp = change(filled, 'httpGet', (get) => fill(get, { path: '/', scheme: 'HTTP' }))
  return change(withHttp, 'grpc', (grpc) => fill(grpc, { service: '' }))
}

const defaultMode = 0o644

function defaultVolume(volume: Fields): Fields {
  const sources = Object.keys(volume).filter((field) => field !== 'name' && volume[field] !== null)
  if (sources.length === 0) return { ...volume, emptyDir: {} }
  const simple = ['secret', 'configMap', 'downwardAPI', 'projected'].reduce(
    (value, source) => change(value, source, (content) => fill(content, { defaultMode })),
    volume,
  )
  const hostPath = change(simple, 'hostPath', (content) => fill(content, { type: '' }))
  const projected = change(hostPath, 'projected', (content) =>
    isRecord(content) ? changeEach(content, 'sources', defaultProjection) : content,
  )
  return change(projected, 'downwardAPI', (content) =>
    isRecord(content) ? defaultDownward(content) : content,
  )
}

function defaultProjection(source: Fields): Fields {
  const token = change(source, 'serviceAccountToken', (content) => fill(content, { expirationSeconds: 3600 }))
  return change(token, 'downwardAPI', (content) => (isRecord(content) ? defaultDownward(content) : content))
}

const defaultDownward = (content: Fields): Fields =>
  changeEach(content, 'items', (item) => change(item, 'fieldRef', (ref) => fill(ref, { apiVersion: 'v1' })))
