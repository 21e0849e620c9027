import { isRecord } from '#base'
import type { Custom } from '#kube'
import { type Field, itemsOf, partsOf, problem, textOf } from './gateway-api-fields.ts'
import { type BackendRef, readBackend, readRouteObject, type RouteObject } from './gateway-api-object.ts'

/** TLSRoute or TCPRoute. Each has exactly one rule; more of them are problems. */
export type L4Route = RouteObject &
  Readonly<{
    ruleName: string | undefined
    /** Of the client hello, in lower case; undefined for TCPRoutes. */
    hostnames: readonly string[] | undefined
    backends: readonly BackendRef[]
    /** With any, connections are reset. */
    problems: readonly string[]
  }>

const hostName = /^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/

export function readL4Route(kind: 'TLSRoute' | 'TCPRoute', object: Custom): L4Route {
  const route = readRouteObject(kind, object)
  const problems: string[] = []
  const spec = isRecord(object.spec) ? object.spec : {}
  const at = (key: string): Field => ({ value: spec[key], path: `spec.${key}`, problems })
  const rules = itemsOf(at('rules'))
  const [first] = rules
  if (rules.length !== 1) problem(at('rules'), `${rules.length} rules, where there is one`)
  const parts = first && partsOf(first, ['name', 'backendRefs'])
  const backends = (parts ? itemsOf(parts.backendRefs) : []).flatMap((item): readonly BackendRef[] => {
    const backend = readBackend(item, route.namespace)
    if (backend === undefined) return problem(item, 'is not a backend') ?? []
    if (backend.filters) problem(backend.filters, 'is not known here')
    return [backend.ref]
  })
  const hostnames = kind === 'TLSRoute' ? readHostnames(at('hostnames')) : undefined
  return { ...route, ruleName: textOf(parts?.name), hostnames, backends, problems }
}

function readHostnames(field: Field): readonly string[] {
  const names = itemsOf(field).flatMap((item): readonly string[] => {
    const name = textOf(item)?.toLowerCase() ?? ''
    return hostName.test(name) ? [name] : (problem(item, 'is not a host name') ?? [])
  })
  if (names.length === 0) problem(field, 'there is none')
  return names
}
