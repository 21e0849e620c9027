import { isRecord } from '#base'
import type { Cause } from '../rest/refusal.ts'
import { type KubeObject, listAt, recordAt, textAt, timestamp } from '../rest/object.ts'
import { kindsOfCrd } from '../types/index.ts'

type AdmittedCrd =
  | Readonly<{ ok: true; object: KubeObject; warnings: readonly string[] }>
  | Readonly<{ ok: false; causes: readonly Cause[] }>

/** Keeps a CRD until its objects are gone (Kubernetes' name). */
export const crdFinalizer = 'customresourcecleanup.apiextensions.k8s.io'

/** Checks a CRD that has its defaults, and completes it. It is established in the same write: there is nobody to wait for. */
export function admitCrd(object: KubeObject, now: number): AdmittedCrd {
  const plural = textAt(object, 'spec', 'names', 'plural') ?? ''
  const group = textAt(object, 'spec', 'group') ?? ''
  const name = object.metadata.name ?? ''
  if (name !== `${plural}.${group}`)
    return {
      ok: false,
      causes: [
        {
          reason: 'FieldValueInvalid',
          field: 'metadata.name',
          message: `Invalid value: ${JSON.stringify(name)}: must be spec.names.plural+"."+spec.group`,
        },
      ],
    }
  const parsed = kindsOfCrd(object)
  if ('reject' in parsed) return { ok: false, causes: parsed.reject }
  const warnings = [...new Set(parsed.kinds.flatMap((kind) => kind.warnings ?? []))]
  return { ok: true, object: established(object, now), warnings }
}

function established(crd: KubeObject, now: number): KubeObject {
  const versions = listAt(crd, 'spec', 'versions').filter(isRecord)
  const storage = versions.filter((version) => version['storage'] === true).map((version) => version['name'])
  const before = listAt(crd, 'status', 'storedVersions')
  return {
    ...crd,
    status: {
      acceptedNames: recordAt(crd, 'spec', 'names'),
      storedVersions: [...new Set([...before, ...storage])],
      conditions: [
        condition(crd, 'NamesAccepted', 'NoConflicts', 'no conflicts found', now),
        condition(crd, 'Established', 'InitialNamesAccepted', 'the initial names have been accepted', now),
      ],
    },
  }
}

function condition(crd: KubeObject, type: string, reason: string, message: string, now: number) {
  const old = listAt(crd, 'status', 'conditions').find((candidate) => textAt(candidate, 'type') === type)
  return {
    type,
    status: 'True',
    reason,
    message,
    lastTransitionTime: textAt(old, 'lastTransitionTime') ?? timestamp(now),
  }
}
