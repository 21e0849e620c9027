import t from 'tap'
import { defaultAccessFields, defaultAccessText, parseFormat } from '#telemetry'

t.test('a format is text and operators', async (t) => {
  t.strictSame(parseFormat('[%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%] 100%% %REQ(X-A?:PATH):20% %PROTOCOL%!'), {
    kind: 'format',
    parts: [
      '[',
      { name: 'START_TIME', argument: '%Y-%m-%dT%H:%M:%S.%3fZ', maxLength: undefined },
      '] 100% ',
      { name: 'REQ', argument: 'X-A?:PATH', maxLength: 20 },
      ' ',
      { name: 'PROTOCOL', argument: '', maxLength: undefined },
      '!',
    ],
    remarks: [],
  })
  t.match(parseFormat(''), { kind: 'format', parts: [] })
})

t.test('Istio’s own formats can be read', async (t) => {
  for (const text of [defaultAccessText, ...Object.values(defaultAccessFields)])
    t.match(parseFormat(text), { kind: 'format' }, text)
})

t.test('what is no operator is no format', async (t) => {
  for (const [text, problem] of [
    ['%REQ(X%', /no % at its end/],
    ['50% of', /no % at its end/],
    ['%NOTHING%', /%NOTHING% is no operator/],
    ['%REQ%', /needs an argument/],
    ['%PROTOCOL(x)%', /takes no argument/],
    ['%REQ(A):x%', /is no operator/],
    ['%req(a)%', /is no operator/],
    ['%% %', /no % at its end/],
    ['x'.repeat(9_000), /longer than/],
    ['%PROTOCOL%'.repeat(200), /more than 128 operators/],
  ] as const)
    t.match(parseFormat(text), { kind: 'unreadable', problem }, text.slice(0, 20))
})

t.test('what never has a value is told', async (t) => {
  t.match(parseFormat('%DYNAMIC_METADATA(istio.mixer:status)% %TRACE_ID% %TRACE_ID%'), {
    kind: 'format',
    remarks: [
      '%DYNAMIC_METADATA% never has a value in a waypoint',
      '%TRACE_ID% never has a value in a waypoint',
    ],
  })
})
