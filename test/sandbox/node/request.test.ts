import t from 'tap'
import { parseRequest } from '../../../sandbox/node/server/request.ts'

const now = Date.UTC(2026, 0, 1, 0, 1)
const cases: [string, string, Record<string, unknown>][] = [
  ['GET', '/healthz', { kind: 'health' }],
  [
    'GET',
    '/containerLogs/ns/pod/c?follow=true&tailLines=5&timestamps=true&sinceSeconds=60&limitBytes=9&previous=true',
    {
      kind: 'logs',
      namespace: 'ns',
      pod: 'pod',
      container: 'c',
      previous: true,
      query: {
        follow: true,
        timestamps: true,
        tailLines: 5,
        limitBytes: 9,
        since: '2026-01-01T00:00:00.000Z',
      },
    },
  ],
  [
    'GET',
    '/containerLogs/ns/pod/c?tailLines=-1&follow=no',
    { query: { follow: false, tailLines: undefined } },
  ],
  [
    'GET',
    '/exec/ns/pod/c?command=sh&command=-c&command=a%20b&stdin=1&tty=true',
    { kind: 'exec', command: ['sh', '-c', 'a b'], stdin: true, tty: true },
  ],
  ['GET', '/portForward/ns/pod?ports=80,x,81&ports=99999', { kind: 'port-forward', ports: [80, 81] }],
  ['POST', '/exec/ns/pod/c', { kind: 'unknown' }],
  ['GET', '/exec/ns/pod', { kind: 'unknown' }],
  ['GET', '/elsewhere/ns/pod/c', { kind: 'unknown' }],
  ['GET', '/containerLogs/%zz/pod/c', { kind: 'logs', namespace: '%zz' }],
  ['GET', '//', { kind: 'unknown' }],
]
for (const [method, url, want] of cases)
  t.test(`${method} ${url}`, async (t) => t.match(parseRequest(method, url, now), want))
