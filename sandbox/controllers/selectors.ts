import type { Expression, LabelSelector, NodeSelectorTerm, Taint, Toleration } from './objects.ts'

type Labels = Readonly<Record<string, string>> | undefined

/** An absent selector selects nothing, an empty one everything. */
export const selectsLabels = (selector: LabelSelector | undefined, labels: Labels): boolean =>
  selector !== undefined &&
  containsLabels(selector.matchLabels, labels) &&
  (selector.matchExpressions ?? []).every((expression) => holds(expression, labels))

/** Every wanted label is there. */
export const containsLabels = (wanted: Labels, labels: Labels): boolean =>
  Object.entries(wanted ?? {}).every(([key, value]) => labels?.[key] === value)

function holds({ key, operator, values = [] }: Expression, labels: Labels): boolean {
  const value = labels?.[key]
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    case 'Gt':
      return value !== undefined && Number(value) > Number(values[0])
    case 'Lt':
      return value !== undefined && Number(value) < Number(values[0])
    default:
      return false
  }
}

/** One term must hold; a term without any requirement never does. */
export const matchesTerms = (terms: readonly NodeSelectorTerm[], name: string, labels: Labels): boolean =>
  terms.some(({ matchExpressions = [], matchFields = [] }) => {
    if (matchExpressions.length + matchFields.length === 0) return false
    const fields = { 'metadata.name': name }
    return matchExpressions.every((e) => holds(e, labels)) && matchFields.every((e) => holds(e, fields))
  })

/** The first taint that keeps new pods away and that nothing tolerates. */
export const untolerated = (
  taints: readonly Taint[],
  tolerations: readonly Toleration[],
): Taint | undefined =>
  taints
    .filter(({ effect }) => effect === 'NoSchedule' || effect === 'NoExecute')
    .find((taint) => !tolerations.some((toleration) => tolerates(toleration, taint)))

function tolerates({ key, operator = 'Equal', value = '', effect }: Toleration, taint: Taint): boolean {
  if (effect && effect !== taint.effect) return false
  if (!key) return operator === 'Exists'
  return key === taint.key && (operator === 'Exists' || value === (taint.value ?? ''))
}
