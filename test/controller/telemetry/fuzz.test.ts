import fc from 'fast-check'
import t from 'tap'
import type { Custom } from '#kube'
import { meshTelemetryFrom } from '../../../controller/telemetry/mesh-logging.ts'
import { readTelemetry } from '../../../controller/telemetry/object.ts'

const words = fc.constantFrom(
  'accessLogging',
  'metrics',
  'providers',
  'name',
  'filter',
  'expression',
  'match',
  'mode',
  'overrides',
  'tagOverrides',
  'value',
  'operation',
  'targetRefs',
  'targetRef',
  'selector',
  'tracing',
  'kind',
  'disabled',
  'metric',
  'customMetric',
)
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 6 },
    fc.constantFrom('SERVER', 'CLIENT', 'REMOVE', 'UPSERT', 'REQUEST_COUNT', 'response.code == 1', 'a +', ''),
    fc.boolean(),
    fc.integer(),
    fc.constant(null),
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(words, tie('any'), { maxKeys: 4 }),
  ),
})).any

t.test('whatever a Telemetry says, it is read', async (t) => {
  fc.assert(
    fc.property(value, (spec) => {
      const object = { apiVersion: 'a', kind: 'Telemetry', metadata: { namespace: 'n', name: 'x' }, spec }
      const read = readTelemetry(object as unknown as Custom, 'istio-system')
      return Array.isArray(read.problems)
    }),
    { numRuns: 3_000 },
  )
  t.pass('nothing throws')
})

const meshWords = fc.constantFrom(
  'accessLogFile',
  'accessLogFormat',
  'accessLogEncoding',
  'extensionProviders',
  'defaultProviders',
  'name',
  'envoyFileAccessLog',
  'logFormat',
  'text',
  'labels',
  'path',
  'accessLogging',
  'omitEmptyValues',
)
const mesh = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 6 },
    fc.constantFrom('JSON', 'TEXT', '/dev/stdout', '%PROTOCOL%', '%X', '{"a":"%PROTOCOL%"}', '{', ''),
    fc.boolean(),
    fc.integer(),
    fc.constant(null),
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(meshWords, tie('any'), { maxKeys: 4 }),
  ),
})).any

t.test('settings of the mesh are read, or what is wrong with them is told', async (t) => {
  fc.assert(
    fc.property(mesh, (settings) => {
      try {
        return Array.isArray(meshTelemetryFrom(JSON.stringify(settings)).defaultLoggers)
      } catch (error) {
        return error instanceof TypeError && error.message !== ''
      }
    }),
    { numRuns: 3_000 },
  )
  t.pass('nothing else is thrown')
})
