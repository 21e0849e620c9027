import {
  type Collection,
  type Custom,
  type EndpointSlice,
  isStatus,
  type KubeClient,
  type KubeObject,
  keyOf,
  kinds,
  type Namespace,
  type Service,
  workQueue,
} from '#kube'
import type { Logger } from '#telemetry'
import { type Gateway, readGateway } from '../collections/index.ts'
import type { Writer } from '../reconcile/index.ts'
import { applyStep, isIn } from './apply-step.ts'
import { type BuiltInClass, classOf } from './classes.ts'
import { hostOf, isManual } from './host.ts'
import { names } from './names.ts'
import type { RenderOptions } from './pod-template.ts'
import { type Child, childrenOf } from './render.ts'
import { isMine, tagsFrom } from './revision.ts'
import { gatewayStatus, type Seen, statusPatch } from './status.ts'

export type GatewayWriterOptions = Readonly<{
  client: KubeClient
  gateways: Collection<Custom>
  classes: Collection<Custom>
  namespaces: Collection<Namespace>
  services: Collection<Service>
  slices: Collection<EndpointSlice>
  /** The ones that carry our label. */
  deployments: Collection<KubeObject>
  accounts: Collection<KubeObject>
  /** Ours; revision tags are Services here. */
  namespace: string
  rootNamespace: string
  render: Omit<RenderOptions, 'network'>
  log: Logger
  now?: () => Date
}>

/** Of a later Istio that took a Gateway over; ours hands off then. */
const controllerVersion = 5

/** Deploys what Gateways of our classes ask for, keeps it as it shall be, and says in their status what came of it. */
export function gatewayWriter(options: GatewayWriterOptions): Writer {
  const { gateways, services, slices, log } = options
  const { domain } = options.render
  const byService = gateways.indexBy((object) => {
    const gateway = readGateway(object)
    const host = gateway && hostOf(gateway, domain)
    return host === undefined ? [] : [host.serviceKey]
  })
  const slicesOf = slices.indexBy((slice) => [`${slice.metadata.namespace ?? ''}/${serviceOf(slice)}`])
  return async (signal) => {
    /** What was applied in this term of leading: a label that is taken away is no longer in what is wanted. */
    const applied = new Map<string, string>()
    const reconcile = async (key: string, stop: AbortSignal) => {
      const object = gateways.get(key)
      const gateway = object && readGateway(object)
      if (!object || !gateway || object.metadata.deletionTimestamp !== undefined) return forget(applied, key)
      const known = handledClass(gateway, options)
      if (known === undefined) return
      const invalidParameters =
        gateway.infrastructure.parameters === undefined
          ? undefined
          : 'spec.infrastructure.parametersRef: this release applies no parameters, so nothing is deployed'
      if (known.kind === 'waypoint' && !isManual(gateway) && invalidParameters === undefined)
        await applyChildren(gateway, known, applied, options, stop)
      const host = hostOf(gateway, domain)
      const service = host && services.get(host.serviceKey)
      const readyPorts = service ? readyPortsOf(service, slicesOf.lookup(keyOf(service))) : new Set<number>()
      await writeStatus(
        object,
        gateway,
        known,
        { host, service, readyPorts, invalidParameters },
        options,
        stop,
      )
    }
    await using queue = workQueue({ name: 'gateways', signal, log, reconcile })
    using _triggers = triggers(options, byService.keys, (key) => queue.add(key))
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  }
}

const serviceOf = ({ metadata }: EndpointSlice): string =>
  metadata.labels?.['kubernetes.io/service-name'] ?? ''

/** The class that a Gateway is of, when it is one that we serve, in our revision, and no later controller has it. */
function handledClass(gateway: Gateway, options: GatewayWriterOptions): BuiltInClass | undefined {
  const { classes, namespaces, services, namespace, render } = options
  const known = classOf(gateway.className, classes.get(gateway.className))
  if (known?.served !== true) return undefined
  // Tags are few, and in one namespace; Gateways are few too.
  const tags = tagsFrom(services.list().filter((service) => service.metadata.namespace === namespace))
  const ofNamespace = namespaces.get(gateway.namespace)?.metadata.labels ?? {}
  if (!isMine(gateway.labels, ofNamespace, { revision: render.revision, tags })) return undefined
  return Number(gateway.annotations[names.controllerVersion] ?? 0) > controllerVersion ? undefined : known
}

/** Ports of a Service that a ready endpoint stands behind. */
export function readyPortsOf({ spec }: Service, slices: readonly EndpointSlice[]): ReadonlySet<number> {
  const ready = slices.filter(({ endpoints }) =>
    (endpoints ?? []).some(({ conditions }) => conditions?.ready !== false),
  )
  const has = (name: string) =>
    ready.some(({ ports }) => (ports ?? []).some((port) => (port.name ?? '') === name))
  return new Set((spec?.ports ?? []).filter(({ name = '' }) => has(name)).map(({ port }) => port))
}

const forget = (applied: Map<string, string>, gateway: string) => {
  for (const id of applied.keys()) if (id.startsWith(`${gateway} `)) applied.delete(id)
}

async function applyChildren(
  gateway: Gateway,
  known: BuiltInClass,
  applied: Map<string, string>,
  options: GatewayWriterOptions,
  signal: AbortSignal,
): Promise<void> {
  const { namespaces, rootNamespace, deployments, accounts, services } = options
  const network = namespaces.get(rootNamespace)?.metadata.labels?.['topology.istio.io/network'] ?? ''
  const live: Readonly<Record<Child['kind'], Collection<KubeObject>>> = {
    Deployment: deployments,
    ServiceAccount: accounts,
    Service: services,
  }
  for (const child of childrenOf(gateway, known, { ...options.render, network })) {
    const id = `${gateway.key} ${child.kind}`
    const text = JSON.stringify(child)
    if (applied.get(id) === text && isIn(withoutKind(child), live[child.kind].get(keyOf(child)))) continue
    if (await applyChild(child, known, options, signal)) applied.set(id, text)
  }
}

const withoutKind = ({ metadata, spec }: Child) => ({ metadata, ...(spec === undefined ? {} : { spec }) })

/** True when the object is as wanted now. */
async function applyChild(
  child: Child,
  { controllerName }: BuiltInClass,
  { client, log }: GatewayWriterOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const kind = kinds[child.kind]
  const { name, namespace } = child.metadata
  const step = applyStep(child, await client.find({ kind, name, namespace }, signal))
  if (step.kind === 'foreign')
    log.warn('not touched: the object belongs to another', {
      kind: child.kind,
      namespace,
      name,
      owner: step.owner,
    })
  if (step.kind !== 'apply') return false
  const { resourceVersion } = step
  // The version makes it fail if somebody made the object another's since we looked.
  const metadata = { ...child.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) }
  await client.apply<KubeObject>(
    kind,
    { ...withoutKind(child), metadata },
    { fieldManager: controllerName, force: true, signal },
  )
  log.info('applied', { kind: child.kind, namespace, name })
  return true
}

async function writeStatus(
  object: Custom,
  gateway: Gateway,
  { kind, controllerName }: BuiltInClass,
  seen: Seen,
  { client, now = () => new Date() }: GatewayWriterOptions,
  signal: AbortSignal,
): Promise<void> {
  const { generation, resourceVersion } = object.metadata
  const time = now()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
  const status = statusPatch(object.status, gatewayStatus(gateway, kind, seen), generation, time)
  if (status === undefined) return
  const annotations = { [names.controllerVersion]: String(controllerVersion) }
  await client
    .mergePatch(
      { kind: kinds.Gateway, name: gateway.name, namespace: gateway.namespace },
      // The version makes the write fail if somebody changed the Gateway since we looked.
      { metadata: { resourceVersion, annotations }, status },
      { subresource: 'status', fieldManager: controllerName, signal },
    )
    .catch((error: unknown) => {
      if (!isStatus(error, 404)) throw error
    })
}

/** Whatever a Gateway's children or status depend on asks for it again. */
function triggers(
  o: GatewayWriterOptions,
  gatewaysOf: (serviceKey: string) => readonly string[],
  add: (key: string) => void,
): Disposable {
  const stack = new DisposableStack()
  const owner = ({ metadata }: KubeObject) => {
    const name = metadata.labels?.[names.gatewayName]
    if (name !== undefined) add(`${metadata.namespace ?? ''}/${name}`)
  }
  const all = (wanted: (gateway: Custom) => boolean = () => true) => {
    for (const gateway of o.gateways.list()) if (wanted(gateway)) add(keyOf(gateway))
  }
  stack.use(
    o.gateways.subscribe((changes) => {
      for (const { key } of changes) add(key)
    }),
  )
  for (const children of [o.deployments, o.accounts])
    stack.use(
      children.subscribe((changes) => {
        for (const { old, row } of changes) for (const child of [old, row]) if (child) owner(child)
      }),
    )
  stack.use(
    o.services.subscribe((changes) => {
      for (const { key, old, row } of changes) {
        for (const gateway of gatewaysOf(key)) add(gateway)
        for (const service of [old, row]) if (service) owner(service)
        if (key.startsWith(`${o.namespace}/istiod-revision-tag-`)) all()
      }
    }),
  )
  stack.use(
    o.slices.subscribe((changes) => {
      for (const { old, row } of changes)
        for (const slice of [old, row])
          if (slice)
            for (const gateway of gatewaysOf(`${slice.metadata.namespace ?? ''}/${serviceOf(slice)}`))
              add(gateway)
    }),
  )
  stack.use(
    o.namespaces.subscribe((changes) => {
      for (const { key } of changes)
        all(({ metadata }) => key === o.rootNamespace || metadata.namespace === key)
    }),
  )
  stack.use(o.classes.subscribe(() => all()))
  return stack
}
