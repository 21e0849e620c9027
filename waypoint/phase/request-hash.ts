import { randomBytes } from 'node:crypto'
import { type DestinationPolicy, headerOf } from '#routes'
import { hashOf } from '../upstream/index.ts'
import type { Call } from './call.ts'

/** What the request is hashed by, where its destination is chosen by that. */
export function hashFor(call: Call, { loadBalancer }: DestinationPolicy): bigint | undefined {
  if (loadBalancer.kind !== 'ring-hash' && loadBalancer.kind !== 'maglev') return undefined
  const { request, facts } = call
  return hashOf(loadBalancer, {
    header: (name) => headerOf(request, name.toLowerCase()),
    query: (name) => new URLSearchParams(request.path.split('?', 2)[1]).get(name) ?? undefined,
    cookie: (name) => cookieOf(request.headers.joined('cookie'), name),
    sourceIp: facts.client.address,
    makeCookie: ({ name, path, ttlMs = 0, attributes = [] }) => {
      const value = randomBytes(8).toString('hex')
      const age = ttlMs > 0 ? `; Max-Age=${Math.ceil(ttlMs / 1_000)}` : ''
      const more = attributes.map((one) => `; ${one.name}${one.value === '' ? '' : `=${one.value}`}`).join('')
      const below = path === undefined ? '' : `; Path=${path}`
      call.cookies.push(`${name}="${value}"${age}${below}${more}; HttpOnly`)
      return value
    },
  })
}

/** The value of a cookie; undefined when the client has none of that name. */
function cookieOf(header: string | undefined, name: string): string | undefined {
  for (const part of header?.split(/[;,]/) ?? []) {
    const at = part.indexOf('=')
    if (at > 0 && part.slice(0, at).trim() === name)
      return part
        .slice(at + 1)
        .trim()
        .replace(/^"(.*)"$/, '$1')
  }
  return undefined
}
