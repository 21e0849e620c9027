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
