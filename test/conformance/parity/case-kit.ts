import type { Forward, HttpRule, RetryPolicy } from '#routes'
import { noRetries, rule } from '../../waypoint/kit.ts'
import type { Socket } from 'node:net'
import { type Got, h2, raw } from './client.ts'
import { to } from './sides.ts'

/** One thing that a client does; its rule is for paths below `/name`. */
export type Case = Readonly<{
  name: string
  rules: readonly HttpRule[]
  send: (port: number) => Promise<Got>
}>

export const forwardTo = (service: string) => [
  {
    weight: 1,
    to: to(service),
    requestHeaders: { set: [], add: [], remove: [] },
    responseHeaders: { set: [], add: [], remove: [] },
  },
]
export const retries = (given: Partial<RetryPolicy>): RetryPolicy => ({
  ...noRetries,
  attempts: 2,
  backoffBaseMs: 1,
  backoffMaxMs: 2,
  ...given,
})
/** A rule of `name`. */
export const ruleOf = (
  name: string,
  action: Partial<Forward> = {},
  given: Partial<HttpRule> = {},
): HttpRule =>
  rule(
    { name: `r-${name}`, match: { path: { kind: 'segments', value: `/${name}` } }, ...given },
    { destinations: forwardTo('web'), ...action },
  )

type Get = Readonly<{
  method?: string
  path?: string
  version?: string
  do?: string
  fields?: readonly string[]
  body?: string
}>
/** The text of an HTTP/1.1 request of a case. */
export const get = (
  name: string,
  { method = 'GET', path = '', version = '1.1', do: word, fields = [], body = '' }: Get = {},
) =>
  [
    `${method} /${name}${path} HTTP/${version}`,
    'host: web.demo',
    `x-case: ${name}`,
    ...(word === undefined ? [] : [`x-do: ${word}`]),
    ...fields,
    '',
    body,
  ].join('\r\n')

export const simple = (
  name: string,
  o: Get = {},
  action: Partial<Forward> = {},
  given: Partial<HttpRule> = {},
): Case => ({
  name,
  rules: [ruleOf(name, action, given)],
  send: (port) => raw(port, get(name, o)),
})
/** A request as it stands, of a case with an ordinary rule. */
export const asIs = (name: string, text: string): Case => ({
  name,
  rules: [ruleOf(name)],
  send: (port) => raw(port, text),
})
export const retrying = (
  name: string,
  word: string,
  policy: Partial<RetryPolicy>,
  fields: readonly string[] = [],
  service = 'fresh',
): Case => simple(name, { do: word, fields }, { retry: retries(policy), destinations: forwardTo(service) })
export const overH2 = (
  name: string,
  word: string,
  more: Readonly<Record<string, string>> = {},
  body?: string,
  action: Partial<Forward> = {},
  given: Partial<HttpRule> = {},
): Case => ({
  name,
  rules: [ruleOf(name, action, given)],
  send: (port) =>
    h2(port, {
      headers: {
        ':method': body === undefined ? 'GET' : 'POST',
        ':path': `/${name}`,
        ':authority': 'web.demo',
        'x-case': name,
        'x-do': word,
        ...more,
      },
      ...(body === undefined ? {} : { body }),
    }),
})
export const grpc = { 'content-type': 'application/grpc', te: 'trailers' }
export const ops = { set: [], add: [], remove: [] } as const
export const b64 = (text: string) => Buffer.from(text).toString('base64')
/** Envoy lets only callers of the mesh steer it; ours all are. */
export const ofMesh = 'x-forwarded-for: 10.1.2.3'
/** Says one thing once the tunnel is there. */
export const sendHi = () => {
  let said = false
  return (socket: Socket) => {
    if (!said) socket.write('hi')
    said = true
  }
}
export const big = 'h'.repeat(70_000)
