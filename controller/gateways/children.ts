import { type Collection, isStatus, type KubeClient, type KubeObject, keyOf, kinds } from '#kube'
import { messageOf } from '#base'
import type { Logger } from '#telemetry'
import type { Gateway } from '../collections/index.ts'
import { applyStep, isIn } from './apply-step.ts'
import type { BuiltInClass } from './classes.ts'
import { labelOf, names, workloadNameOf } from './names.ts'
import { renderedWith } from './overlay.ts'
import type { Overlay } from './parameters.ts'
import type { RenderOptions } from './pod-template.ts'
import type { Child, ChildKind } from './render.ts'

/** What the writing of children needs. */
type ChildrenContext = Readonly<{
  client: KubeClient
  children: Readonly<Record<ChildKind, Collection<KubeObject>>>
  /** By Gateway and kind, what was applied in this term of leading. */
  applied: Map<string, string>
  signal: AbortSignal
  log: Logger
}>
type Outcome = Readonly<{ kind: 'done' }> | Readonly<{ kind: 'invalid'; message: string; refused?: unknown }>

/** Nothing is known any more of what was applied for a Gateway. */
export const forget = (applied: Map<string, string>, gateway: string): void => {
  for (const id of applied.keys()) if (id.startsWith(`${gateway} `)) applied.delete(id)
}

/** Makes the children as they shall be. What overlays made of them is tried first: all of it is taken, or none. */
export async function applyChildren(
  gateway: Gateway,
  known: BuiltInClass,
  options: RenderOptions,
  overlays: readonly Overlay[],
  context: ChildrenContext,
): Promise<Outcome> {
  const live = context.children.Deployment.get(`${gateway.namespace}/${workloadNameOf(gateway)}`)
  const rendered = renderedWith(gateway, known, options, overlays, live)
  if (rendered.kind === 'invalid') return rendered
  const pending = rendered.children.filter((child) => isPending(gateway, child, context))
  if (overlays.length > 0) {
    const refusal = await tried(pending, known, overlays, context)
    if (refusal !== undefined) return refusal
  }
  for (const child of pending)
    if (await applyChild(child, known, false, context))
      context.applied.set(idOf(gateway, child), JSON.stringify(child))
  await removeOptional(gateway, rendered.children, context)
  return { kind: 'done' }
}

const idOf = ({ key }: Gateway, { kind }: Child) => `${key} ${kind}`

function isPending(gateway: Gateway, child: Child, { applied, children }: ChildrenContext): boolean {
  const live = children[child.kind].get(keyOf(child))
  return applied.get(idOf(gateway, child)) !== JSON.stringify(child) || !isIn(withoutKind(child), live)
}

function withoutKind(child: Child) {
  const { kind: _, ...rest } = child
  return rest
}

/** Whether the API server would take them; what it says when it would not. */
async function tried(
  pending: readonly Child[],
  known: BuiltInClass,
  overlays: readonly Overlay[],
  context: ChildrenContext,
): Promise<Outcome | undefined> {
  for (const child of pending) {
    try {
      await applyChild(child, known, true, context)
    } catch (error) {
      if (![400, 403, 422].some((status) => isStatus(error, status))) throw error
      const sources = overlays.map(({ source }) => source).join(', ')
      const message = `${sources}: the API server refuses the ${child.kind}: ${messageOf(error)}`
      return { kind: 'invalid', message, refused: error }
    }
  }
  return undefined
}

/** True when the object is as wanted now. */
async function applyChild(
  child: Child,
  { controllerName }: BuiltInClass,
  dryRun: boolean,
  { client, log, signal }: ChildrenContext,
): Promise<boolean> {
  const kind = kinds[child.kind]
  const { name, namespace } = child.metadata
  const step = applyStep(child, await client.find<KubeObject>({ kind, name, namespace }, signal))
  if (step.kind === 'foreign') {
    const { owner } = step
    if (!dryRun)
      log.warn('not touched: the object belongs to another', { kind: child.kind, namespace, name, owner })
    return false
  }
  if (step.kind === 'none') return false
  const { resourceVersion } = step
  // The version makes it fail if somebody made the object another's since we looked.
  const metadata = { ...child.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) }
  const how = { fieldManager: controllerName, force: true, dryRun, signal }
  await client.apply<KubeObject>(kind, { ...withoutKind(child), metadata }, how)
  if (!dryRun) log.info('applied', { kind: child.kind, namespace, name })
  return true
}

const optionalKinds = ['HorizontalPodAutoscaler', 'PodDisruptionBudget'] as const

/** An autoscaler or a budget that no overlay asks for any more would go on working. */
async function removeOptional(
  gateway: Gateway,
  wanted: readonly Child[],
  { client, children, log, signal }: ChildrenContext,
): Promise<void> {
  const { namespace } = gateway
  const name = workloadNameOf(gateway)
  for (const kind of optionalKinds) {
    if (wanted.some((child) => child.kind === kind)) continue
    const live = children[kind].get(`${namespace}/${name}`)
    if (live?.metadata.labels?.[names.gatewayName] !== labelOf(gateway)) continue
    const { uid, resourceVersion } = live.metadata
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { uid, resourceVersion } }
    if (await client.delete({ kind: kinds[kind], namespace, name }, { body, signal }))
      log.info('removed: nothing asks for it any more', { kind, namespace, name })
  }
}
