/** Items worked off a bounded number per turn of the event loop, so that requests are answered in between. */
const itemsPerTurn = 100

type Batches<T> = Disposable & Readonly<{ add: (item: T) => void }>

/** A set-like queue: an item that is waiting is not added twice, one that fails does not stop the others. */
export function batches<T>(work: (item: T) => void, onError: (error: unknown) => void): Batches<T> {
  const waiting = new Set<T>()
  let turn: NodeJS.Immediate | undefined
  const run = () => {
    turn = undefined
    for (const item of [...waiting].slice(0, itemsPerTurn)) {
      waiting.delete(item)
      try {
        work(item)
      } catch (error) {
        onError(error)
      }
    }
    if (waiting.size > 0) schedule()
  }
  const schedule = () => {
    turn ??= setImmediate(run)
  }
  return {
    add: (item) => {
      waiting.add(item)
      schedule()
    },
    [Symbol.dispose]: () => {
      waiting.clear()
      clearImmediate(turn)
    },
  }
}
