import fc from 'fast-check'
import t from 'tap'
import { type JsonObject, kindsOfCrd, prepare } from '../../../../sandbox/api/types/index.ts'
import { bean, crd, customKind, kindNamed, nested } from './samples.ts'
import '../../../fakes/seed.ts'

const causesOf = (made: ReturnType<typeof kindsOfCrd>) =>
  'reject' in made ? made.reject.map((error) => `${error.field}: ${error.message}`) : []

const object = (properties: JsonObject, more: JsonObject = {}): JsonObject => ({
  type: 'object',
  properties,
  ...more,
})

t.test('a CRD becomes a kind with everything its version says', async (t) => {
  const made = kindsOfCrd(
    crd(object({}), {
      subresources: {
        status: {},
        scale: {
          specReplicasPath: '.spec.n',
          statusReplicasPath: '.status.n',
          labelSelectorPath: '.status.s',
        },
      },
      additionalPrinterColumns: [{ name: 'Roast', type: 'string', jsonPath: '.spec.roast', priority: 1 }],
      selectableFields: [{ jsonPath: '.spec.roast' }],
      deprecated: true,
    }),
  )
  if ('reject' in made) return t.fail(JSON.stringify(made.reject))
  t.match(made.kinds, [
    {
      group: 'shop.example',
      version: 'v1',
      kind: 'Bean',
      listKind: 'BeanList',
      plural: 'beans',
      singular: 'bean',
      namespaced: true,
      status: true,
      storage: true,
      custom: true,
      virtual: false,
      scale: { specReplicas: '.spec.n', statusReplicas: '.status.n', labelSelector: '.status.s' },
      printerColumns: [{ name: 'Roast', type: 'string', jsonPath: '.spec.roast', priority: 1 }],
      selectableFields: ['.spec.roast'],
      deprecationWarning: 'shop.example/v1 Bean is deprecated',
    },
  ])
  t.strictSame(made.warnings, [])
})

t.test('a version that is not served makes no kind', async (t) => {
  t.match(kindsOfCrd(crd(object({}), { served: false })), { kinds: [] })
})

t.test('CEL rules are counted and said not to be enforced', async (t) => {
  const rules = [{ rule: 'self > 0', message: 'more than none' }]
  const made = kindsOfCrd(crd(object({ a: { type: 'integer', 'x-kubernetes-validations': rules } })))
  t.match(made, {
    warnings: [/spec.versions\[0\]: 1 x-kubernetes-validations rules .* does not evaluate CEL/],
  })
  t.match(made, { kinds: [{ warnings: [/does not evaluate CEL/] }] })
})

const loose: [what: string, spec: JsonObject, cause: RegExp][] = [
  ['a property without a type', object({ a: {} }), /properties\[a\].type: Required value: must not be empty/],
  [
    'a list without items',
    object({ a: { type: 'array' } }),
    /properties\[a\].items: Required value: must be specified/,
  ],
  [
    'properties beside additionalProperties',
    object({ a: object({ b: { type: 'string' } }, { additionalProperties: { type: 'string' } }) }),
    /mutual exclusive/,
  ],
  [
    'a type inside anyOf',
    object({ a: { type: 'string', anyOf: [{ type: 'string' }] } }),
    /anyOf\[0\].type: Forbidden/,
  ],
  ['a reference', object({ a: { type: 'object', $ref: '#/x' } }), /\$ref: Forbidden/],
  [
    'a reference inside not',
    object({ a: { type: 'object', not: { $ref: 'io.k8s.x' } } }),
    /not.\$ref: Forbidden/,
  ],
  [
    'unique items',
    object({ a: { type: 'array', uniqueItems: true, items: { type: 'string' } } }),
    /uniqueItems: Forbidden/,
  ],
  ['a pattern that is none', object({ a: { type: 'string', pattern: '(' } }), /pattern: Invalid value/],
  [
    'a pattern inside anyOf that is none',
    object({ a: { type: 'string', anyOf: [{ pattern: '(' }] } }),
    /pattern: Invalid/,
  ],
  [
    'a keyed list whose key is optional',
    object({
      a: {
        type: 'array',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['n'],
        items: object({ n: { type: 'string' } }),
      },
    }),
    /must have a default or be a required property/,
  ],
  ['a schema of the wrong shape', { type: 'object', properties: 5 }, /must be of type object: "integer"/],
]
for (const [what, spec, cause] of loose)
  t.test(`${what} is refused: the schema is not structural`, async (t) => {
    t.match(causesOf(kindsOfCrd(crd(spec))).join('\n'), cause)
  })

t.test('a generated CRD brings an empty status along, and is accepted', async (t) => {
  const status = { acceptedNames: { kind: '', plural: '' }, conditions: null, storedVersions: null }
  const given = { ...crd(object({})), status }
  t.match(kindsOfCrd(given), { kinds: [{ kind: 'Bean' }] })
  t.strictSame(
    prepare(kindNamed('CustomResourceDefinition'), given, { fieldValidation: 'Strict' }).errors,
    [],
  )
})

t.test('names, versions and schemas are checked', async (t) => {
  const named = crd(object({}))
  t.match(causesOf(kindsOfCrd({ ...named, metadata: { name: 'x' } })), [
    /must be spec.names.plural\+"."\+spec.group/,
  ])
  t.match(causesOf(kindsOfCrd(crd(object({}), { storage: false }))), [
    /exactly one version marked as storage/,
  ])
  t.match(causesOf(kindsOfCrd(crd(object({}), { schema: {} }))), [/schemas are required/])
  t.ok('reject' in kindsOfCrd({}))
  t.ok('reject' in kindsOfCrd(nested(100)))
})

/** Causes of a `spec` under a schema for it. */
const judge = (schema: JsonObject, spec: unknown) => {
  const { errors, unknown } = prepare(customKind(schema), bean(spec), { fieldValidation: 'Strict' })
  return [...unknown, ...errors.map((error) => `${error.field}: ${error.message}`)]
}
const one = (schema: JsonObject, more: JsonObject = {}) => object({ a: schema }, more)
const keyed = {
  type: 'array',
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['n'],
  items: object({ n: { type: 'string' }, v: { type: 'integer' } }, { required: ['n'] }),
}

const judged: [what: string, schema: JsonObject, spec: unknown, cause: string | RegExp | undefined][] = [
  ['an unknown field', one({ type: 'string' }), { b: 1 }, 'unknown field "spec.b"'],
  [
    'a field that free-form objects may have',
    object({}, { 'x-kubernetes-preserve-unknown-fields': true }),
    { b: 1 },
    undefined,
  ],
  ['a missing required field', one({ type: 'string' }, { required: ['a'] }), {}, 'spec.a: Required value'],
  ['null where nothing may be', one({ type: 'string' }), { a: null }, undefined],
  ['null where null may be', one({ type: 'string', nullable: true }), { a: null }, undefined],
  [
    'a number for a string',
    one({ type: 'string' }),
    { a: 1 },
    /spec.a in body must be of type string: "integer"/,
  ],
  ['a fraction for an integer', one({ type: 'integer' }), { a: 1.5 }, /must be of type integer: "number"/],
  ['an integer for a number', one({ type: 'number' }), { a: 1 }, undefined],
  ['either a port', one({ 'x-kubernetes-int-or-string': true }), { a: 80 }, undefined],
  ['or its name', one({ 'x-kubernetes-int-or-string': true }), { a: 'http' }, undefined],
  [
    'but no list',
    one({ 'x-kubernetes-int-or-string': true }),
    { a: [] },
    /must be of type integer,string: "array"/,
  ],
  [
    'a value outside the enum',
    one({ type: 'string', enum: ['x'] }),
    { a: 'y' },
    'spec.a: Unsupported value: "y": supported values: "x"',
  ],
  ['a pattern that matches in the middle', one({ type: 'string', pattern: 'b' }), { a: 'abc' }, undefined],
  [
    'a pattern that does not match',
    one({ type: 'string', pattern: '^b$' }),
    { a: 'abc' },
    /should match '\^b\$'/,
  ],
  [
    'a catastrophic pattern, in linear time',
    one({ type: 'string', pattern: '^(a+)+$' }),
    { a: `${'a'.repeat(5000)}!` },
    /should match/,
  ],
  [
    'too long',
    one({ type: 'string', maxLength: 2 }),
    { a: 'abc' },
    'spec.a: Too long: may not be more than 2 bytes',
  ],
  ['too short', one({ type: 'string', minLength: 2 }), { a: 'a' }, /should be at least 2 chars long/],
  [
    'too large',
    one({ type: 'integer', maximum: 2 }),
    { a: 3 },
    'spec.a: Invalid value: 3: spec.a in body should be less than or equal to 2',
  ],
  [
    'the bound itself, excluded',
    one({ type: 'integer', minimum: 2, exclusiveMinimum: true }),
    { a: 2 },
    /greater than 2/,
  ],
  ['no multiple', one({ type: 'number', multipleOf: 0.1 }), { a: 0.25 }, /multiple of 0.1/],
  ['a multiple', one({ type: 'number', multipleOf: 0.1 }), { a: 0.3 }, undefined],
  [
    'too many items',
    one({ type: 'array', maxItems: 1, items: { type: 'string' } }),
    { a: ['x', 'y'] },
    /Too many: 2: must have at most 1 items/,
  ],
  [
    'too few entries',
    one({ type: 'object', minProperties: 1, additionalProperties: { type: 'string' } }),
    { a: {} },
    /at least 1 properties/,
  ],
  [
    'a wrong item',
    one({ type: 'array', items: { type: 'string' } }),
    { a: ['x', 1] },
    /^spec.a\[1\]: Invalid value/,
  ],
  [
    'a repeated item of a set',
    one({ type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } }),
    { a: ['x', 'x'] },
    'spec.a[1]: Duplicate value: "x"',
  ],
  [
    'a repeated key',
    one(keyed),
    {
      a: [
        { n: 'x', v: 1 },
        { n: 'x', v: 2 },
      ],
    },
    'spec.a[1]: Duplicate value: {"n":"x"}',
  ],
  [
    'none of anyOf',
    one({ type: 'string', anyOf: [{ enum: ['x'] }, { enum: ['y'] }] }),
    { a: 'z' },
    /must validate at least one schema \(anyOf\)/,
  ],
  [
    'two of oneOf',
    one({ type: 'integer', oneOf: [{ minimum: 1 }, { minimum: 2 }] }),
    { a: 3 },
    /one and only one schema \(oneOf\). Found 2 valid/,
  ],
  [
    'what must not be',
    one({ type: 'string', not: { enum: ['x'] } }),
    { a: 'x' },
    /must not validate the schema \(not\)/,
  ],
  [
    'a part of allOf',
    one({ type: 'integer', allOf: [{ minimum: 5 }] }),
    { a: 1 },
    /greater than or equal to 5/,
  ],
  [
    'no date',
    one({ type: 'string', format: 'date-time' }),
    { a: 'yesterday' },
    /must be of type date-time: "yesterday"/,
  ],
  [
    'an embedded object without a kind',
    one({
      type: 'object',
      'x-kubernetes-embedded-resource': true,
      'x-kubernetes-preserve-unknown-fields': true,
    }),
    { a: { apiVersion: 'v1' } },
    /spec.a.kind: Required/,
  ],
]
for (const [what, schema, spec, cause] of judged)
  t.test(`${what}: ${cause === undefined ? 'accepted' : 'refused'}`, async (t) => {
    const found = judge(schema, spec)
    if (cause === undefined) t.strictSame(found, [])
    else t.match(found, [cause])
  })

t.test('defaults are set at every depth, nulls without meaning are dropped', async (t) => {
  const schema = object({
    a: { type: 'string', default: 'x' },
    b: { type: 'object', default: {}, properties: { c: { type: 'integer', default: 3 } } },
    l: { type: 'array', items: object({ d: { type: 'boolean', default: true } }) },
    n: { type: 'string', nullable: true },
  })
  const made = prepare(customKind(schema), bean({ a: null, l: [{}], n: null }), { fieldValidation: 'Strict' })
  t.strictSame(made.errors, [])
  t.strictSame(made.object['spec'], { a: 'x', b: { c: 3 }, l: [{ d: true }], n: null })
})

t.test('metadata of a custom object is checked like any other', async (t) => {
  const made = prepare(
    customKind(object({})),
    { metadata: { name: 'A', extra: 1 }, spec: {} },
    { fieldValidation: 'Strict' },
  )
  t.match(made.errors, [{ field: 'metadata.name' }])
  t.strictSame(made.unknown, ['unknown field "metadata.extra"'])
})

t.test('no CRD makes it throw', async (t) => {
  const word = fc.constantFrom(
    'type',
    'properties',
    'items',
    'allOf',
    'not',
    'pattern',
    'enum',
    '$ref',
    'default',
    'required',
    'nullable',
    '__proto__',
    'x-kubernetes-list-type',
    'x-kubernetes-list-map-keys',
    'additionalProperties',
  )
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom<unknown>(null, 1, 'object', 'array', 'map', true, '(', 'io.k8s.api.core.v1.Pod'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(word, tie('tree'), { maxKeys: 4 }),
    ),
  }))
  fc.assert(
    fc.property(fc.dictionary(word, tree), tree, (spec, value) => {
      const made = kindsOfCrd(crd(spec))
      if ('reject' in made) return
      for (const kind of made.kinds) prepare(kind, bean(value), { fieldValidation: 'Strict' })
    }),
    { numRuns: 2000 },
  )
  t.pass('all answered')
})
