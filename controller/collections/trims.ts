import { isRecord } from '#base'
import type { Container, KubeNode, Metadata, Pod } from '#kube'

/**
 * A pod as it is held: what the collections and the CA read of it, and nothing else. The rest is nine tenths of a pod, and
 * changes of it (a heartbeat, a restart count, a new resourceVersion) are then no changes. Who wants to read another field
 * adds it here; the tests read everything through this. Garbage stays as it is: it is the reader's to find.
 */
export function trimPod(pod: Pod): Pod {
  const { spec, status } = pod
  return {
    ...(pod.apiVersion === undefined ? {} : { apiVersion: pod.apiVersion }),
    ...(pod.kind === undefined ? {} : { kind: pod.kind }),
    metadata: trimMetadata(pod.metadata),
    ...(spec === undefined ? {} : { spec: isRecord(spec) ? trimSpec(spec) : spec }),
    ...(status === undefined ? {} : { status: isRecord(status) ? trimStatus(status) : status }),
  }
}

/** A node as it is held: its labels. Its status has the list of its images, and changes with every heartbeat. */
export const trimNode = ({ apiVersion, kind, metadata }: KubeNode): KubeNode => ({
  ...(apiVersion === undefined ? {} : { apiVersion }),
  ...(kind === undefined ? {} : { kind }),
  metadata: picked(metadata, ['name', 'uid', 'labels']),
})

/** Fields of `from` that are there, in the order of `fields`, so that rows of a kind have one shape. */
function picked<T extends object, Field extends keyof T>(from: T, fields: readonly Field[]): Pick<T, Field> {
  const kept: Partial<Pick<T, Field>> = {}
  for (const field of fields) if (from[field] !== undefined) kept[field] = from[field]
  return kept as Pick<T, Field>
}

const metadataFields = ['name', 'namespace', 'uid', 'deletionTimestamp', 'labels'] as const

function trimMetadata(metadata: Metadata): Metadata {
  const { annotations, ownerReferences } = metadata
  const ours = isRecord(annotations)
    ? Object.fromEntries(Object.entries(annotations).filter(([key]) => key.includes('istio.io/')))
    : annotations
  return {
    ...picked(metadata, metadataFields),
    ...(ours === undefined ? {} : { annotations: ours }),
    ...(ownerReferences === undefined ? {} : { ownerReferences: controllersOf(ownerReferences) }),
  }
}

const controllersOf = (references: NonNullable<Metadata['ownerReferences']>) =>
  Array.isArray(references)
    ? references.filter((reference) => reference?.controller === true).slice()
    : references

const specFields = ['nodeName', 'hostNetwork', 'serviceAccountName', 'hostname', 'subdomain'] as const

function trimSpec(spec: NonNullable<Pod['spec']>): NonNullable<Pod['spec']> {
  const { containers, initContainers } = spec
  return {
    ...picked(spec, specFields),
    ...(containers === undefined ? {} : { containers: withPorts(containers) }),
    ...(initContainers === undefined ? {} : { initContainers: withPorts(initContainers) }),
  }
}

/** Only ports that have a name are looked for in a pod. */
const withPorts = (containers: readonly Container[]): readonly Container[] =>
  Array.isArray(containers)
    ? containers
        .filter((each) => !isRecord(each) || each['ports'] !== undefined)
        .map((each: Container) => (isRecord(each) ? picked(each, ['name', 'restartPolicy', 'ports']) : each))
    : containers

const statusFields = ['phase', 'podIP', 'podIPs'] as const

function trimStatus(status: NonNullable<Pod['status']>): NonNullable<Pod['status']> {
  const { conditions } = status
  const ready = Array.isArray(conditions)
    ? conditions
        .filter((each) => !isRecord(each) || each['type'] === 'Ready')
        .map((each: unknown) => (isRecord(each) ? { type: each['type'], status: each['status'] } : each))
    : conditions
  return {
    ...picked(status, statusFields),
    ...(conditions === undefined ? {} : { conditions: ready as typeof conditions }),
  }
}
