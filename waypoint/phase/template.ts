import { formatAddress } from '#base'
import type { Call } from './call.ts'

/** Envoy's operators that a header's value may have; the others make the header be left out. */
const operators: Readonly<Record<string, (call: Call) => string | undefined>> = {
  PROTOCOL: ({ exchange }) => exchange.version,
  DOWNSTREAM_REMOTE_ADDRESS: ({ facts }) => formatAddress(facts.client),
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: ({ facts }) => facts.client.address,
  DOWNSTREAM_PEER_URI_SAN: ({ facts }) => facts.peer,
  RESPONSE_CODE: ({ status }) => `${status}`,
  UPSTREAM_HOST: ({ sent }) => sent?.to && formatAddress(sent.to),
}

/** The value with its `%…%` filled in; undefined when one of them is not known. `%%` is a percent sign. */
export function renderTemplate(template: string, call: Call): string | undefined {
  let isWhole = true
  const text = template.replaceAll(/%([A-Z_]*)(?:\(([^)]*)\))?%/g, (_, name: string, argument?: string) => {
    if (name === '') return '%'
    const value =
      name === 'REQ' && argument !== undefined
        ? requestHeader(call, argument)
        : Object.hasOwn(operators, name)
          ? operators[name]?.(call)
          : undefined
    if (value === undefined) isWhole = false
    return value ?? ''
  })
  return isWhole ? text : undefined
}

/** `REQ(A?B)`: the second where the first is not there. */
function requestHeader({ request }: Call, argument: string): string | undefined {
  for (const name of argument.toLowerCase().split('?')) {
    const value =
      name === ':path'
        ? request.path
        : name === ':authority'
          ? request.authority
          : name === ':method'
            ? request.method
            : request.headers.joined(name)
    if (value !== undefined) return value
  }
  return undefined
}
