import { type EndpointSlice, type Index, type KubeObject, keyOf } from '#kube'
import { readGateway } from '../collections/index.ts'
import type { AttachingRoute } from './attachment.ts'
import { hostOf } from './host.ts'
import { names } from './names.ts'
import { parametersKey } from './parameters.ts'
import { isTagService } from './revision.ts'
import type { GatewayWriterOptions } from './writer.ts'

/** Who is found by what; nothing here is found by a scan. */
export type Indexes = Readonly<{
  /** Keys of Gateways, by the Service that stands for them. */
  gatewaysOfService: (service: string) => readonly string[]
  /** By the ConfigMap that they name. */
  gatewaysOfMap: (map: string) => readonly string[]
  slices: Index<EndpointSlice>
  /** By the Gateways that they name. */
  routes: Index<AttachingRoute>
  routesOfNamespace: Index<AttachingRoute>
}>

const serviceOf = ({ metadata }: EndpointSlice): string =>
  metadata.labels?.['kubernetes.io/service-name'] ?? ''

export function indexesOf({ gateways, slices, routes, render }: GatewayWriterOptions): Indexes {
  const byService = gateways.indexBy((object) => {
    const gateway = readGateway(object)
    const host = gateway && hostOf(gateway, render.domain)
    return host === undefined ? [] : [host.serviceKey]
  })
  const byMap = gateways.indexBy((object) => {
    const gateway = readGateway(object)
    const key = gateway && parametersKey(gateway)
    return key === undefined ? [] : [key]
  })
  return {
    gatewaysOfService: byService.keys,
    gatewaysOfMap: byMap.keys,
    slices: slices.indexBy((slice) => [`${slice.metadata.namespace ?? ''}/${serviceOf(slice)}`]),
    routes: routes.indexBy(({ parents }) => [...new Set(parents.map(({ gateway }) => gateway))]),
    routesOfNamespace: routes.indexBy(({ namespace }) => [namespace]),
  }
}

/** Whatever a Gateway's children or status depend on asks for it again. */
export function triggers(o: GatewayWriterOptions, indexes: Indexes, add: (key: string) => void): Disposable {
  const stack = new DisposableStack()
  const owner = ({ metadata }: KubeObject) => {
    if (metadata.labels?.[names.gatewayName] === undefined) return
    // The label may be shorter than the name.
    for (const { kind, name } of metadata.ownerReferences ?? [])
      if (kind === 'Gateway') add(`${metadata.namespace ?? ''}/${name}`)
  }
  const all = (wanted: (gateway: KubeObject) => boolean = () => true) => {
    for (const gateway of o.gateways.list()) if (wanted(gateway)) add(keyOf(gateway))
  }
  const parents = (route: AttachingRoute | undefined) => {
    for (const { gateway } of route?.parents ?? []) add(gateway)
  }
  stack.use(
    o.gateways.subscribe((changes) => {
      for (const { key } of changes) add(key)
    }),
  )
  const { Service: _, ...others } = o.children
  for (const children of Object.values(others))
    stack.use(
      children.subscribe((changes) => {
        for (const { old, row } of changes) for (const child of [old, row]) if (child) owner(child)
      }),
    )
  stack.use(
    o.services.subscribe((changes) => {
      for (const { key, old, row } of changes) {
        for (const gateway of indexes.gatewaysOfService(key)) add(gateway)
        for (const service of [old, row]) if (service) owner(service)
        const [namespace, name = ''] = key.split('/')
        if (namespace === o.namespace && isTagService(name)) all()
      }
    }),
  )
  stack.use(
    o.slices.subscribe((changes) => {
      for (const { old, row } of changes)
        for (const slice of [old, row])
          if (slice)
            for (const gateway of indexes.gatewaysOfService(
              `${slice.metadata.namespace ?? ''}/${serviceOf(slice)}`,
            ))
              add(gateway)
    }),
  )
  stack.use(
    o.namespaces.subscribe((changes) => {
      for (const { key } of changes) {
        all(({ metadata }) => key === o.rootNamespace || metadata.namespace === key)
        for (const route of indexes.routesOfNamespace.lookup(key)) parents(route)
      }
    }),
  )
  stack.use(
    o.routes.subscribe((changes) => {
      for (const { old, row } of changes) for (const route of [old, row]) parents(route)
    }),
  )
  for (const shared of [o.classes, o.tags, o.validators, o.classDefaults])
    stack.use(shared.subscribe(() => all()))
  return stack
}
