import type { Collection, ConfigMap } from '#kube'
import type { Indexes } from './triggers.ts'

/** The ConfigMaps that Gateways name; `unknown` until they have been listed. */
export type FollowedMaps = Disposable & Readonly<{ find: (key: string) => ConfigMap | undefined | 'unknown' }>

/** Follows ConfigMaps from the first that is asked for, and asks for a Gateway again when its own changes. */
export function followMaps(
  open: () => Collection<ConfigMap>,
  { gatewaysOfMap }: Indexes,
  add: (gateway: string) => void,
): FollowedMaps {
  const stack = new DisposableStack()
  let maps: Collection<ConfigMap> | undefined
  const asked = new Set<string>()
  const ask = (key: string) => {
    for (const gateway of gatewaysOfMap(key)) add(gateway)
  }
  const follow = (): Collection<ConfigMap> => {
    const followed = open()
    stack.use(
      followed.subscribe((changes) => {
        for (const { key } of changes) ask(key)
      }),
    )
    void followed.synced.then(() => {
      for (const key of asked) ask(key)
      asked.clear()
    })
    return followed
  }
  return {
    find: (key) => {
      maps ??= follow()
      if (maps.isSynced()) return maps.get(key)
      asked.add(key)
      return 'unknown'
    },
    [Symbol.dispose]: () => stack.dispose(),
  }
}
