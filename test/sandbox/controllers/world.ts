import type { KubeObject } from '#kube'
import type { Action } from '../../../sandbox/controllers/actions.ts'
import type { SchedulableNode, SchedulablePod } from '../../../sandbox/controllers/objects.ts'
import { controllerOf } from '../../../sandbox/controllers/pod-state.ts'

export const now = new Date('2026-11-21T12:00:00Z')
type Stored = KubeObject & Record<string, unknown>

export const ready = (is = true, since = '2026-11-21T11:00:00Z') => ({
  type: 'Ready',
  status: is ? ('True' as const) : ('False' as const),
  lastTransitionTime: since,
})

export const node = (name: string, o: Partial<SchedulableNode> = {}): SchedulableNode => ({
  metadata: { name, ...o.metadata },
  spec: o.spec ?? {},
  status: o.status ?? { conditions: [ready()] },
})

export const pod = (name: string, o: Partial<SchedulablePod> = {}): SchedulablePod => ({
  ...o,
  metadata: { name, namespace: 'shop', uid: `uid-${name}`, ...o.metadata },
})

/** What a list of actions says, one line each. */
export const told = (actions: readonly Action[]): readonly string[] =>
  actions.map((action) => {
    switch (action.kind) {
      case 'create':
        return `create ${action.of.kind}`
      case 'patch':
        return `patch ${action.ref.kind.kind} ${action.ref.name}${action.subresource ? ' status' : ''} ${JSON.stringify(action.patch)}`
      case 'delete':
        return `delete ${action.ref.kind.kind} ${action.ref.name}${action.force ? ' at once' : ''}`
      case 'bind':
        return `bind ${action.pod.metadata.name} to ${action.node}`
      case 'event':
        return `${action.type} ${action.reason}`
      case 'again':
        return `again in ${action.afterMs} ms`
    }
  })

const merge = (into: unknown, patch: unknown): unknown => {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const result: Record<string, unknown> = { ...(typeof into === 'object' ? into : {}) }
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete result[key]
    else result[key] = merge(result[key], value)
  return result
}

/** An API server and kubelet of one line each: actions change objects, pods become what the test says. */
export class Model {
  readonly #objects = new Map<string, Stored>()
  #count = 0

  put<T extends KubeObject>(kind: string, object: T): void {
    const { name = '' } = object.metadata
    const id = ++this.#count
    const metadata = {
      uid: `${kind}-${name}`,
      generation: 1,
      creationTimestamp: new Date(now.getTime() + id * 1000).toISOString(),
      ...object.metadata,
    }
    this.#objects.set(`${kind}/${name}`, { ...object, metadata })
  }

  get<T extends KubeObject>(kind: string, name: string): T {
    const found = this.#objects.get(`${kind}/${name}`)
    if (!found) throw new Error(`no ${kind} ${name}`)
    return found as unknown as T
  }

  all<T extends KubeObject>(kind: string): readonly T[] {
    return [...this.#objects]
      .filter(([key]) => key.startsWith(`${kind}/`))
      .map(([, object]) => object as unknown as T)
  }

  owned<T extends KubeObject>(kind: string, owner: KubeObject): readonly T[] {
    return this.all<T>(kind).filter((object) => controllerOf(object)?.uid === owner.metadata.uid)
  }

  change(kind: string, name: string, patch: object): void {
    const before = this.get<Stored>(kind, name)
    this.#objects.set(`${kind}/${name}`, merge(before, patch) as Stored)
  }

  remove(kind: string, name: string): void {
    this.#objects.delete(`${kind}/${name}`)
  }

  /** Deleted pods stay, terminating, until `remove`. */
  do(actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.kind === 'create') {
        const name = action.object.metadata.name ?? `pod-${++this.#count}`
        this.put(action.of.kind, { ...action.object, metadata: { ...action.object.metadata, name } })
      } else if (action.kind === 'patch') {
        const { kind, name } = { kind: action.ref.kind.kind, name: action.ref.name }
        const generation = action.patch['spec']
          ? { metadata: { generation: (this.get(kind, name).metadata.generation ?? 0) + 1 } }
          : {}
        this.change(kind, name, { ...action.patch, ...(action.patch['metadata'] ? {} : generation) })
      } else if (action.kind === 'delete') {
        if (action.ref.kind.kind !== 'Pod') this.remove(action.ref.kind.kind, action.ref.name)
        else this.change('Pod', action.ref.name, { metadata: { deletionTimestamp: now.toISOString() } })
      }
    }
  }
}
