import { type Collection, derive, type Fetch } from '#kube'
import type { Inputs } from './inputs.ts'
import { selects } from './label-selector.ts'
import { defaultLiveSettings, type EntryVisibility, liveKey } from './settings.ts'

export const liveOf = (fetch: Fetch, { meshConfig }: Pick<Inputs, 'meshConfig'>) =>
  fetch.one(meshConfig, liveKey) ?? defaultLiveSettings

/** The namespaces that `discoverySelectors` leave out. A namespace that we have not seen yet is not one of them. */
export const hiddenNamespaces = (inputs: Inputs): Collection<true> =>
  derive('HiddenNamespaces', inputs.namespaces, ({ metadata }, fetch) => {
    const { discoverySelectors } = liveOf(fetch, inputs)
    const seen =
      discoverySelectors.length === 0 ||
      discoverySelectors.some((selector) => selects(selector, metadata.labels))
    return seen ? undefined : true
  })

const rank: Readonly<Record<EntryVisibility, number>> = { everybody: 0, namespace: 1, nobody: 2 }

/** Who sees the ServiceEntries of each namespace at most. */
export const entryVisibilities = (inputs: Inputs): Collection<EntryVisibility> =>
  derive('EntryVisibilities', inputs.namespaces, ({ metadata }, fetch) => {
    const { otherwise, rules } = liveOf(fetch, inputs).entryVisibility
    const rule = rules.find(({ namespaces }) =>
      namespaces.some((selector) => selects(selector, metadata.labels)),
    )
    return rule?.visibility ?? otherwise
  })

/** The narrower of what the mesh allows and what the entry itself says. */
export const narrower = (a: EntryVisibility, b: EntryVisibility): EntryVisibility =>
  rank[a] > rank[b] ? a : b
