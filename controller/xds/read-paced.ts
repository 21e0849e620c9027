import { Allowance, type Rate } from './allowance.ts'

/** An ACK for each of a hundred changes a second is a fifth of it; a node that starts asks for some hundred names. */
const requestRate: Rate = { burst: 2_000, perSecond: 500 }

/** As much of a stream as reading it takes. */
type Readable<T> = Readonly<{
  on: (event: 'data', listener: (item: T) => void) => unknown
  pause: () => unknown
  resume: () => unknown
}>

/** Gives `take` what comes. Who sends too fast is read more slowly, which the transport tells it; nothing is lost. */
export function readPaced<T>(
  from: Readable<T>,
  take: (item: T) => void,
  pace = new Allowance(requestRate),
): void {
  from.on('data', (item) => {
    take(item)
    if (pace.take()) return
    from.pause()
    setTimeout(() => from.resume(), pace.waitMs)
  })
}
