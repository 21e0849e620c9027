import { fieldValue, type PodFacts, resourceValue } from './fields.ts'
import type { NodePod, PodContainer, Variable } from './pod.ts'

/** The data of a ConfigMap or Secret, decoded; undefined when the object does not exist. */
export type KeyValues = Readonly<Record<string, string>> | undefined
type References = Readonly<{
  configMap: (name: string) => KeyValues
  secret: (name: string) => KeyValues
}>
type EnvOutcome =
  | Readonly<{ kind: 'env'; env: Readonly<Record<string, string>> }>
  /** Kubernetes' CreateContainerConfigError: the container waits until this is no longer so. */
  | Readonly<{ kind: 'missing'; message: string }>

type Known = Record<string, string>

/** A container's environment: the image's and the cluster's first, then envFrom, then env, each overriding what is before. */
export function containerEnv(
  pod: NodePod,
  container: PodContainer,
  facts: PodFacts,
  base: Readonly<Record<string, string>>,
  references: References,
): EnvOutcome {
  const env: Known = { ...base }
  for (const from of container.envFrom) {
    const [what, ref] = from.configMapRef
      ? (['configmap', from.configMapRef] as const)
      : (['secret', from.secretRef ?? { name: '', optional: true }] as const)
    const values = what === 'configmap' ? references.configMap(ref.name) : references.secret(ref.name)
    if (!values && !ref.optional) return { kind: 'missing', message: `${what} "${ref.name}" not found` }
    for (const [key, value] of Object.entries(values ?? {})) env[`${from.prefix}${key}`] = value
  }
  for (const variable of container.env) {
    const found = valueOf(pod, container, facts, variable, references, env)
    if (found.kind === 'missing') return found
    if (found.value !== undefined) env[variable.name] = found.value
  }
  return { kind: 'env', env }
}

type Value =
  | Readonly<{ kind: 'value'; value: string | undefined }>
  | Readonly<{ kind: 'missing'; message: string }>
const value = (text: string | undefined): Value => ({ kind: 'value', value: text })

function valueOf(
  pod: NodePod,
  container: PodContainer,
  facts: PodFacts,
  { value: text, valueFrom }: Variable,
  references: References,
  env: Known,
): Value {
  if (!valueFrom) return value(expand(text ?? '', env))
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = valueFrom
  if (fieldRef) return value(fieldValue(pod, facts, fieldRef.fieldPath))
  if (resourceFieldRef) return value(resourceValue(pod, resourceFieldRef, container.name))
  const keyRef = configMapKeyRef ?? secretKeyRef
  if (!keyRef) return value(undefined)
  const [what, values] = configMapKeyRef
    ? (['configmap', references.configMap(keyRef.name)] as const)
    : (['secret', references.secret(keyRef.name)] as const)
  const found = values?.[keyRef.key]
  if (found !== undefined || keyRef.optional) return value(found)
  return {
    kind: 'missing',
    message: values
      ? `couldn't find key ${keyRef.key} in ${what} ${keyRef.name}`
      : `${what} "${keyRef.name}" not found`,
  }
}

/** `$(NAME)` becomes the variable's value if there is one and stays as it is if not; `$$` is a dollar sign. */
export const expand = (text: string, env: Readonly<Record<string, string>>): string =>
  text.replaceAll(/\$(?:\$|\(([^)]*)\))/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : (env[name] ?? whole),
  )
