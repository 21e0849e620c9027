/** Runs `flush` once it has been quiet for `quietMs`, at the latest `capMs` after the first call. */
export function debounce(
  flush: (waitedMs: number) => void,
  quietMs: number,
  capMs: number,
): (() => void) & Disposable {
  let timer: NodeJS.Timeout | undefined
  let firstMs = 0
  const run = () => {
    timer = undefined
    flush(performance.now() - firstMs)
  }
  const poke = () => {
    if (timer === undefined) firstMs = performance.now()
    clearTimeout(timer)
    const leftMs = capMs - (performance.now() - firstMs)
    timer = setTimeout(run, Math.max(0, Math.min(quietMs, leftMs)))
  }
  return Object.assign(poke, { [Symbol.dispose]: () => clearTimeout(timer) })
}
