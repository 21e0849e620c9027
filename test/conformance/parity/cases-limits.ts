import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { type Case, forwardTo, ruleOf, get, simple, ops } from './case-kit.ts'
import { raw } from './client.ts'
import { to } from './sides.ts'

export const limits: readonly Case[] = [
  // Circuit breakers: one connection, and one request that waits for it.
  {
    name: 'overflow',
    rules: [
      ruleOf('overflow', { destinations: forwardTo('narrow') }),
      ruleOf('held', { destinations: forwardTo('narrow') }),
    ],
    send: async (port) => {
      const held = [get('held', { do: 'silent' }), get('held', { do: 'silent' })].map((text) =>
        connect(port, '127.0.0.1')
          .on('error', () => undefined)
          .on('connect', function (this: Socket) {
            this.write(text)
          }),
      )
      try {
        for (let n = 0; ; n++) {
          const got = await Promise.race([
            raw(port, get('overflow')),
            new Promise<undefined>((done) => setTimeout(done, 300, undefined)),
          ])
          if (got && got.status !== 200) return got
          if (n > 50) throw new Error('no overflow')
        }
      } finally {
        for (const socket of held) socket.destroy()
      }
    },
  },
  {
    name: 'client-leaves',
    rules: [ruleOf('client-leaves')],
    send: async (port) => {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      socket.write(get('client-leaves', { do: 'stall' }))
      await once(socket, 'data')
      socket.destroy()
      return { status: 0, interim: [], headers: {}, body: '', trailers: '', end: 'closed' }
    },
  },
  {
    name: 'client-leaves-early',
    rules: [ruleOf('client-leaves-early')],
    send: async (port) => {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      socket.write(get('client-leaves-early', { do: 'silent' }))
      await new Promise((done) => setTimeout(done, 200))
      socket.destroy()
      return { status: 0, interim: [], headers: {}, body: '', trailers: '', end: 'closed' }
    },
  },
  ...(['GET', 'OPTIONS'] as const).flatMap((method) =>
    [
      ['https://a.example', 'GET'],
      ['https://evil.example', 'GET'],
      ['https://a.example', 'DELETE'],
    ].map(([origin, asked], i): Case => {
      const name = `cors-${method.toLowerCase()}${i}`
      return simple(
        name,
        {
          method,
          fields: [
            `origin: ${origin}`,
            ...(method === 'OPTIONS' ? [`access-control-request-method: ${asked}`] : []),
          ],
        },
        {},
        {
          cors: {
            allowOrigins: [{ kind: 'exact', value: 'https://a.example' }],
            allowMethods: ['GET', 'POST'],
            allowHeaders: ['x-a'],
            exposeHeaders: ['x-b'],
            maxAgeSeconds: 60,
            allowCredentials: true,
            unmatchedPreflights: i === 0 ? 'answer' : 'forward',
            wildcards: 'verbatim',
          },
        },
      )
    }),
  ),
  // Weights.
  simple('weight-none', {}, { destinations: [] }),
  simple(
    'weight-zero',
    {},
    {
      destinations: [
        { weight: 0, to: to('dead'), requestHeaders: ops, responseHeaders: ops },
        { weight: 1, to: to('web'), requestHeaders: ops, responseHeaders: ops },
      ],
    },
  ),
]
