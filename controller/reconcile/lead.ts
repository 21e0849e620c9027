/** Writes one kind of thing until its signal fires. */
export type Writer = (signal: AbortSignal) => Promise<void>

/** Runs all writers; when one fails the others are stopped too, so that whoever leads next starts afresh. */
export async function lead(writers: readonly Writer[], signal: AbortSignal): Promise<void> {
  const stop = new AbortController()
  const both = AbortSignal.any([signal, stop.signal])
  if (both.aborted) return
  await Promise.all(
    writers.map((write) =>
      write(both).catch((error: unknown) => {
        stop.abort()
        throw error
      }),
    ),
  )
}
