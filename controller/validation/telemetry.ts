import {
  type At,
  bool,
  type Check,
  type Fields,
  fields,
  filled,
  into,
  isThere,
  list,
  listAt,
  map,
  needsOne,
  atMostOne,
  number,
  oneOf,
  refuse,
  required,
  text,
  warn,
} from './check.ts'
import { duration } from './formats.ts'
import { oneTargeting, targeting } from './target-refs.ts'

const mode = oneOf('CLIENT_AND_SERVER', 'CLIENT', 'SERVER')
const providers = list(fields({ name: filled }, (value, at) => required(value, at, 'name')))

const tagKinds = ['literal', 'environment', 'header', 'formatter']
const customTag = fields(
  {
    literal: fields({ value: filled }, (value, at) => required(value, at, 'value')),
    environment: fields({ name: filled, defaultValue: text }, (value, at) => required(value, at, 'name')),
    header: fields({ name: filled, defaultValue: text }, (value, at) => required(value, at, 'name')),
    formatter: fields({ value: filled }, (value, at) => required(value, at, 'value')),
  },
  (value, at) => {
    needsOne(value, at, tagKinds)
    atMostOne(value, at, tagKinds)
  },
)

const tracing = fields(
  {
    match: fields({ mode }),
    providers,
    randomSamplingPercentage: number(0, 100),
    disableSpanReporting: bool,
    customTags: map(customTag),
    useRequestIdForTraceSampling: bool,
    enableIstioTags: bool,
    disableContextPropagation: bool,
  },
  (value, at) => {
    if (listAt(value, 'providers').length > 1) warn(into(at, 'providers'), 'one is used; the others are not')
  },
)

const metrics = [
  'ALL_METRICS',
  'REQUEST_COUNT',
  'REQUEST_DURATION',
  'REQUEST_SIZE',
  'RESPONSE_SIZE',
  'TCP_OPENED_CONNECTIONS',
  'TCP_CLOSED_CONNECTIONS',
  'TCP_SENT_BYTES',
  'TCP_RECEIVED_BYTES',
  'GRPC_REQUEST_MESSAGES',
  'GRPC_RESPONSE_MESSAGES',
]
const tagOverride = fields({ operation: oneOf('UPSERT', 'REMOVE'), value: text }, (value: Fields, at: At) => {
  const hasValue = isThere(value['value']) && value['value'] !== ''
  if (value['operation'] === 'REMOVE' && hasValue)
    refuse(into(at, 'value'), 'means nothing where the tag is removed')
  if (value['operation'] !== 'REMOVE' && !hasValue) refuse(into(at, 'value'), 'is needed for UPSERT')
})
const overrides = fields({
  match: fields({ metric: oneOf(...metrics), customMetric: filled, mode }, (value, at) =>
    atMostOne(value, at, ['metric', 'customMetric']),
  ),
  disabled: bool,
  tagOverrides: map(tagOverride),
})

export const telemetry: Check = fields(
  {
    ...targeting,
    tracing: list(tracing),
    metrics: list(fields({ providers, overrides: list(overrides), reportingInterval: duration() })),
    accessLogging: list(
      fields({
        match: fields({ mode }),
        providers,
        disabled: bool,
        filter: fields({ expression: filled }, (value, at) => required(value, at, 'expression')),
      }),
    ),
  },
  oneTargeting,
)
