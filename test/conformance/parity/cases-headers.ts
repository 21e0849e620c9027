import type { HeaderOps } from '#routes'
import { type Case, forwardTo, ops, simple } from './case-kit.ts'

const values: Readonly<Record<string, string>> = {
  'x-host': '%REQ(:AUTHORITY)%',
  'x-path': '%REQ(:PATH)%',
  'x-original': '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
  'x-sent': '%REQ(X-SENT):3%!',
  'x-part': 'of <%REQ(X-NONE)%>',
  'x-none': '%REQ(X-NONE)%',
  'x-percent': '100%% of it',
  'x-protocol': '%PROTOCOL% %UPSTREAM_REQUEST_ATTEMPT_COUNT%',
  'x-flags': '%RESPONSE_FLAGS%',
  'x-code': '%RESPONSE_CODE%',
  'x-details': '%RESPONSE_CODE_DETAILS%',
  'x-route': '%ROUTE_NAME%',
  'x-year': '%START_TIME(%Y)%',
}
const filledIn: HeaderOps = {
  ...ops,
  set: Object.entries(values).map(([name, value]) => ({ name, value, template: true })),
}
const rewrite = { authority: 'other.example', path: { kind: 'prefix', value: '/new' } } as const
const fields = ['x-sent: abcdef']

/** Values of headers with operators in them. */
export const headers: readonly Case[] = [
  simple('values-asked', { path: '/a?b', fields }, {}, { requestHeaders: filledIn }),
  simple('values-rewritten', { path: '/a?b', fields }, { rewrite }, { requestHeaders: filledIn }),
  simple('values-answered', { path: '/a?b', fields }, { rewrite }, { responseHeaders: filledIn }),
  simple('values-failed', { fields }, { destinations: forwardTo('empty') }, { responseHeaders: filledIn }),
  simple(
    'values-redirected',
    { path: '/a?b', fields },
    {},
    {
      action: { kind: 'redirect', status: 301, port: 'request', path: { kind: 'full', value: '/x?y=z' } },
      responseHeaders: filledIn,
    },
  ),
]
