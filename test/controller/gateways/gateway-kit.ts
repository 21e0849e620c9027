import assert from 'node:assert/strict'
import type { Custom } from '#kube'
import { type Gateway, readGateway } from '../../../controller/collections/index.ts'
import {
  type BuiltInClass,
  builtInClasses,
  type ClassOptions,
  classOf,
  defaultClassOptions,
  type RenderOptions,
} from '../../../controller/gateways/index.ts'

type Change = Readonly<{
  name?: string
  namespace?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  spec?: Record<string, unknown>
  status?: unknown
}>

/** What `istioctl waypoint apply` sends, and what a user may have changed. */
export const waypoint = (change: Change = {}) =>
  ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: change.name ?? 'waypoint',
      namespace: change.namespace ?? 'shop',
      uid: `uid-of-${change.name ?? 'waypoint'}`,
      generation: 1,
      labels: change.labels ?? {},
      annotations: change.annotations ?? {},
    },
    spec: {
      gatewayClassName: 'istio-waypoint',
      listeners: [{ name: 'mesh', port: 15_008, protocol: 'HBONE' }],
      ...change.spec,
    },
    ...(change.status === undefined ? {} : { status: change.status }),
  }) satisfies Custom

export const renderOptions: RenderOptions = {
  revision: 'default',
  image: 'lateen:dev',
  caAddress: 'istiod.istio-system.svc:15012',
  clusterId: 'Kubernetes',
  trustDomain: 'cluster.local',
  domain: 'cluster.local',
  copiesWords: true,
  network: '',
}

/** As it is on the wire. */
export const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

export function gatewayOf(object: Custom): Gateway {
  const gateway = readGateway(object)
  assert.ok(gateway, 'a Gateway')
  return gateway
}

export const classOptions: ClassOptions = { ...defaultClassOptions, eastWest: true }

export function builtIn(name: string): BuiltInClass {
  const known = classOf(builtInClasses(classOptions), name, undefined)
  assert.ok(known, name)
  return known
}
