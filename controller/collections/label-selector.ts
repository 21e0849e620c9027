import { isRecord } from '#base'

type Requirement = Readonly<{
  key: string
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
  values: ReadonlySet<string>
}>
/** Kubernetes' LabelSelector, read: all of it must hold. */
export type LabelSelector = Readonly<{ requirements: readonly Requirement[] }>

const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const
const isText = (value: unknown): value is string => typeof value === 'string'

/** Undefined when any of it cannot be read: half a selector would select others than its author meant. */
export function parseLabelSelector(value: unknown): LabelSelector | undefined {
  if (!isRecord(value)) return undefined
  const { matchLabels = {}, matchExpressions = [], ...rest } = value
  if (!isRecord(matchLabels) || !Array.isArray(matchExpressions) || Object.keys(rest).length > 0)
    return undefined
  const labels = Object.entries(matchLabels).map(([key, text]): Requirement | undefined =>
    isText(text) ? { key, operator: 'In', values: new Set([text]) } : undefined,
  )
  const all = [...labels, ...matchExpressions.map(requirementOf)]
  const requirements = all.filter((requirement) => requirement !== undefined)
  return requirements.length === all.length ? { requirements } : undefined
}

function requirementOf(value: unknown): Requirement | undefined {
  const { key, operator, values = [] } = isRecord(value) ? value : {}
  const known = operators.find((name) => name === operator)
  if (!isText(key) || known === undefined || !Array.isArray(values) || !values.every(isText)) return undefined
  const wantsValues = known === 'In' || known === 'NotIn'
  return wantsValues === values.length > 0 ? { key, operator: known, values: new Set(values) } : undefined
}

/** An empty selector selects everything, as in Kubernetes. */
export const selects = (
  { requirements }: LabelSelector,
  labels: Readonly<Record<string, string>> = {},
): boolean =>
  requirements.every(({ key, operator, values }) => {
    const value = labels[key]
    switch (operator) {
      case 'In':
        return value !== undefined && values.has(value)
      case 'NotIn':
        return value === undefined || !values.has(value)
      case 'Exists':
        return value !== undefined
      case 'DoesNotExist':
        return value === undefined
    }
  })
