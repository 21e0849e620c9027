import { MeshError, sleep } from '#base'
import type { SpiffeId } from '#identity'
import type { MeshState, Workload } from './state/index.ts'

type Store = Readonly<{ prefetch(id: SpiffeId): void; forget(id: SpiffeId): void }>

const needsCertificate = (w: Workload) => w.protocol === 'HBONE' || w.nativeTunnel

/** Certificates are there before the first connection of a workload of this node, and gone with its last record. */
export const followIdentities = (state: MeshState, store: Store): Disposable =>
  state.onChange(({ added, removed }) => {
    const wanted = new Set(added.filter(needsCertificate).map(({ identity }) => identity))
    for (const id of wanted) store.prefetch(id)
    for (const id of new Set(removed.map(({ identity }) => identity)))
      if (!state.hasLocalIdentity(id)) store.forget(id)
  })

/**
 * Gives certificates for the identities of this node's workloads, and for no other: a worker that has not yet heard that
 * the last one is gone would bring back what was forgotten, to be renewed for ever.
 */
export const onlyLocal =
  <T>(state: Pick<MeshState, 'hasLocalIdentity'>, get: (id: SpiffeId) => Promise<T>) =>
  async (id: SpiffeId): Promise<T> => {
    if (state.hasLocalIdentity(id)) return get(id)
    throw new MeshError('identity-unavailable', { message: `${id} is no workload's of this node` })
  }

/** Name of the start-up task. */
export const certificatesTask = 'certificates'

type Fetching = Readonly<{
  state: MeshState
  nodeName: string
  /** Rejects while the CA refuses. */
  get(id: SpiffeId, signal: AbortSignal): Promise<unknown>
  signal: AbortSignal
  /** Shortened by tests. */
  againMs?: number
}>

const defaultAgainMs = 1_000

/**
 * Resolves when the workloads of this node have been asked for their certificates and, if there are any, at least one
 * got its own: while the CA gives nothing to anybody a ztunnel that works must not be replaced by one that cannot. What
 * a single identity lacks keeps nobody waiting.
 */
export async function firstCertificates({ state, nodeName, get, signal, againMs }: Fetching): Promise<void> {
  while (!signal.aborted) {
    const local = [...state.workloads()].filter((w) => w.node === nodeName && needsCertificate(w))
    const ids = [...new Set(local.map(({ identity }) => identity))]
    const first = Promise.any(ids.map((id) => get(id, signal)))
    const hasOne = await first.then(
      () => true,
      () => false,
    )
    if (ids.length === 0 || hasOne) return
    await sleep(againMs ?? defaultAgainMs, signal).catch(() => undefined)
  }
}
