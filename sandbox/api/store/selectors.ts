import { type KubeObject, at } from '../rest/object.ts'

/** Chooses objects; both selectors of a request as one. */
export type Selector = (object: KubeObject) => boolean

/** A selector, ready to be asked, or why it is none. */
export type ParsedSelector =
  | Readonly<{ kind: 'selector'; matches: Selector }>
  | Readonly<{ kind: 'reject'; reason: string }>

type Requirement = (labels: Readonly<Record<string, string>>) => boolean

const maxSelectorLength = 8192
const key = String.raw`([A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?)`
const forms: readonly [RegExp, (key: string, value: string) => Requirement][] = [
  [new RegExp(`^${key}\\s+in\\s+\\(([^()]*)\\)$`), (k, v) => isIn(k, splitSet(v))],
  [new RegExp(`^${key}\\s+notin\\s+\\(([^()]*)\\)$`), (k, v) => not(isIn(k, splitSet(v)))],
  [new RegExp(`^${key}\\s*!=\\s*([-A-Za-z0-9_.]*)$`), (k, v) => not(isIn(k, [v]))],
  [new RegExp(`^${key}\\s*==?\\s*([-A-Za-z0-9_.]*)$`), (k, v) => isIn(k, [v])],
  [
    new RegExp(`^${key}\\s*>\\s*(-?\\d+)$`),
    (k, v) => (labels) => Number(labels[k] ?? Number.NaN) > Number(v),
  ],
  [
    new RegExp(`^${key}\\s*<\\s*(-?\\d+)$`),
    (k, v) => (labels) => Number(labels[k] ?? Number.NaN) < Number(v),
  ],
  [new RegExp(`^!\\s*${key}$`), (k) => (labels) => !Object.hasOwn(labels, k)],
  [new RegExp(`^${key}$`), (k) => (labels) => Object.hasOwn(labels, k)],
]

const splitSet = (text: string): readonly string[] => text.split(',').map((part) => part.trim())
const isIn =
  (name: string, values: readonly string[]): Requirement =>
  (labels) =>
    Object.hasOwn(labels, name) && values.includes(labels[name] ?? '')
const not =
  (requirement: Requirement): Requirement =>
  (labels) =>
    !requirement(labels)

/** `a=b,c!=d,e in (x,y),!f`: all must hold. */
export function parseLabelSelector(text: string): ParsedSelector {
  if (text.length > maxSelectorLength) return { kind: 'reject', reason: 'the label selector is too long' }
  const requirements: Requirement[] = []
  for (const part of splitOutsideParentheses(text)) {
    const requirement = parseRequirement(part)
    if (requirement === undefined)
      return { kind: 'reject', reason: `unable to parse requirement: ${JSON.stringify(part)}` }
    requirements.push(requirement)
  }
  const none = {}
  return {
    kind: 'selector',
    matches: ({ metadata }) => requirements.every((holds) => holds(metadata.labels ?? none)),
  }
}

function parseRequirement(part: string): Requirement | undefined {
  for (const [form, make] of forms) {
    const match = form.exec(part)
    if (match) return make(match[1] ?? '', match[2] ?? '')
  }
  return undefined
}

/** A selector as objects hold it (`matchLabels`, `matchExpressions`), in the text form that the scale subresource shows. */
export function labelSelectorText(selector: unknown): string {
  const labels = Object.entries(at(selector, 'matchLabels') ?? {}).map(
    ([name, value]) => `${name}=${String(value)}`,
  )
  const listed = at(selector, 'matchExpressions')
  const expressions = (Array.isArray(listed) ? listed : []).map((expression: unknown) => {
    const name = String(at(expression, 'key'))
    const found = at(expression, 'values')
    const values = Array.isArray(found) ? found.join(',') : ''
    switch (at(expression, 'operator')) {
      case 'In':
        return `${name} in (${values})`
      case 'NotIn':
        return `${name} notin (${values})`
      case 'DoesNotExist':
        return `!${name}`
      default:
        return name
    }
  })
  return [...labels, ...expressions].join(',')
}

function splitOutsideParentheses(text: string): readonly string[] {
  const parts: string[] = []
  let depth = 0
  let start = 0
  for (let i = 0; i <= text.length; i++) {
    if (text[i] === '(') depth++
    else if (text[i] === ')') depth--
    else if (i === text.length || (text[i] === ',' && depth === 0)) {
      parts.push(text.slice(start, i).trim())
      start = i + 1
    }
  }
  return parts.filter((part) => part !== '')
}

/** Fields that may be selected besides metadata.name and metadata.namespace (Kubernetes: per kind, hard-wired). */
const fieldsOf: Readonly<Record<string, readonly string[]>> = {
  pods: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  events: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
  'events.events.k8s.io': [
    'reason',
    'reportingController',
    'type',
    'regarding.kind',
    'regarding.namespace',
    'regarding.name',
    'regarding.uid',
  ],
  secrets: ['type'],
  nodes: ['spec.unschedulable'],
  namespaces: ['status.phase'],
  services: ['spec.clusterIP', 'spec.type'],
  'replicasets.apps': ['status.replicas'],
  'jobs.batch': ['status.successful'],
}

/** `metadata.name=x,spec.nodeName!=y`; `extra` are the paths that a CRD declares selectable. */
export function parseFieldSelector(
  text: string,
  resource: string,
  extra: readonly string[] = [],
): ParsedSelector {
  if (text.length > maxSelectorLength) return { kind: 'reject', reason: 'the field selector is too long' }
  const known = [
    'metadata.name',
    'metadata.namespace',
    ...(fieldsOf[resource] ?? []),
    ...extra.map((path) => path.replace(/^\./, '')),
  ]
  const requirements: Selector[] = []
  for (const part of text.split(',').filter((piece) => piece.trim() !== '')) {
    const match = /^\s*([A-Za-z0-9_.[\]/-]+?)\s*(!=|==|=)(.*)$/.exec(part)
    if (!match) return { kind: 'reject', reason: `invalid field selector: ${JSON.stringify(part)}` }
    const [, field = '', operator, value = ''] = match
    if (!known.includes(field)) return { kind: 'reject', reason: `field label not supported: ${field}` }
    requirements.push((object) => (fieldText(object, field) === value.trim()) === (operator !== '!='))
  }
  return { kind: 'selector', matches: (object) => requirements.every((holds) => holds(object)) }
}

function fieldText(object: KubeObject, field: string): string {
  // Kubernetes selects events by the component alone.
  const value = field === 'source' ? at(object, 'source', 'component') : at(object, ...field.split('.'))
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return field === 'spec.unschedulable' || field === 'spec.hostNetwork' ? 'false' : ''
}
