import { MeshError } from '#base'
import { addon, succeed, syscallFailed } from './addon.ts'

/** Bits of what a descriptor is ready for, as libuv counts them. */
export const ready = { readable: 1, writable: 2 } as const

/** Watches a descriptor until disposed; the descriptor stays the caller's and must be closed after. */
export type Poll = Disposable & { watch(events: number): void }

/** `onReady` is called with the events, or with an error after which nothing more comes. */
export function openPoll(fd: number, onReady: (events: number, error: MeshError | undefined) => void): Poll {
  const handle = addon().pollOpen(fd, (events) => {
    if (events < 0) onReady(0, syscallFailed('poll', events))
    else onReady(events, undefined)
  })
  if (typeof handle === 'number') throw syscallFailed('poll', handle)
  let open = true
  return {
    watch(events) {
      if (open) succeed('poll', addon().pollSet(handle, events))
    },
    [Symbol.dispose]() {
      if (open) addon().pollClose(handle)
      open = false
    },
  }
}
