import type { JsonObject, KindType } from './schema.ts'

/** Names of the definitions that operations mention. */
type Models = Readonly<{ model: string; patch: string; status: string }>

const PATCH_TYPES = [
  'application/apply-patch+yaml',
  'application/json-patch+json',
  'application/merge-patch+json',
]
const STRATEGIC = 'application/strategic-merge-patch+json'

const query = (name: string, type: string, description: string): JsonObject => ({
  name,
  in: 'query',
  description,
  schema: { type, uniqueItems: true },
})

const DRY_RUN = query(
  'dryRun',
  'string',
  'When present, indicates that modifications should not be persisted.',
)
const FIELD_MANAGER = query('fieldManager', 'string', 'The name of the actor that makes these changes.')
const FIELD_VALIDATION = query(
  'fieldValidation',
  'string',
  'How to handle unknown or duplicate fields: Ignore, Warn or Strict.',
)
const FORCE = query('force', 'boolean', 'Takes conflicting fields from other managers of an apply.')
const WRITE = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION]
const LIST = [
  query('labelSelector', 'string', 'Restricts the list by labels.'),
  query('fieldSelector', 'string', 'Restricts the list by fields.'),
  query('limit', 'integer', 'The largest number of objects to answer at once.'),
  query('continue', 'string', 'Where to go on with a list that was cut by limit.'),
  query('watch', 'boolean', 'Answers a stream of changes instead of a list.'),
  query('resourceVersion', 'string', 'Which state to answer from.'),
]
const DELETE = [
  DRY_RUN,
  query('gracePeriodSeconds', 'integer', 'Seconds before the object is deleted.'),
  query('propagationPolicy', 'string', 'What happens to dependents: Orphan, Background or Foreground.'),
]

/** All paths of one kind under `/api/v1` or `/apis/G/V`. kubectl reads parameters and media types from them. */
export function pathsOfKind(kind: KindType, root: string, models: Models): JsonObject {
  const scope = kind.namespaced ? `${root}/namespaces/{namespace}` : root
  const collection = `${scope}/${kind.plural}`
  const item = `${collection}/{name}`
  const post = operation(kind, 'post', models.model, { parameters: WRITE, ...body(models.model) })
  if (kind.virtual) return { [collection]: { ...place(collection), post } }
  const list = operation(kind, 'list', `${models.model}List`, { parameters: LIST })
  const paths: JsonObject = {
    [collection]: {
      ...place(collection),
      get: list,
      post,
      delete: operation(kind, 'deletecollection', models.status, { parameters: [...LIST, ...DELETE] }),
    },
    [item]: {
      ...place(item),
      ...itemOperations(kind, models),
      delete: operation(kind, 'delete', models.status, { parameters: DELETE }),
    },
  }
  if (kind.namespaced) paths[`${root}/${kind.plural}`] = { get: list }
  if (kind.status) paths[`${item}/status`] = { ...place(item), ...itemOperations(kind, models) }
  return paths
}

function itemOperations(kind: KindType, models: Models): JsonObject {
  const media = kind.custom ? PATCH_TYPES : [...PATCH_TYPES, STRATEGIC]
  const schema = { $ref: `#/components/schemas/${models.patch}` }
  const content = Object.fromEntries(media.map((type) => [type, { schema }]))
  return {
    get: operation(kind, 'get', models.model, {}),
    put: operation(kind, 'put', models.model, { parameters: WRITE, ...body(models.model) }),
    patch: operation(kind, 'patch', models.model, {
      parameters: [...WRITE, FORCE],
      requestBody: { content },
    }),
  }
}

const body = (model: string): JsonObject => ({
  requestBody: { content: { '*/*': { schema: { $ref: `#/components/schemas/${model}` } } } },
})

function operation(kind: KindType, action: string, answer: string, more: JsonObject): JsonObject {
  const schema = { $ref: `#/components/schemas/${answer}` }
  return {
    tags: [tagOf(kind)],
    operationId: `${action}${kind.group}${kind.version}${kind.kind}`,
    ...more,
    responses: { '200': { description: 'OK', content: { 'application/json': { schema } } } },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': { group: kind.group, version: kind.version, kind: kind.kind },
  }
}

const tagOf = (kind: KindType): string => `${kind.group.split('.')[0] || 'core'}_${kind.version}`

/** The parameters that are part of the path. */
function place(path: string): JsonObject {
  const names = ['namespace', 'name'].filter((name) => path.includes(`{${name}}`))
  const parameters = names.map((name) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', uniqueItems: true },
  }))
  return parameters.length > 0 ? { parameters } : {}
}
