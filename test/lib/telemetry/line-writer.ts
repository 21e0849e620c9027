import { startLogging } from '#telemetry'

/** A process that writes lines as they are, in batches of these sizes, and leaves without waiting for the last. */
export const batches = [1, 3, 40, 2_000, 1, 1_000] as const
/** One, two, three and four bytes of UTF-8. */
export const textOf = (number: number) => `${number} a\u00e9\u20ac\u{1f6a2}${'\u20ac'.repeat(number % 50)}`

if (import.meta.main) {
  const logs = startLogging({ filter: 'info' })
  const write = logs.lines('access')
  let number = 0
  for (const count of batches) {
    for (let n = 0; n < count; n++) write(textOf(number++))
    logs.setFilter('access=warn')
    write('not while only warnings are wanted')
    logs.setFilter('access=info')
    if (number % 2 === 0) await logs.flush()
    else await new Promise((resolve) => setImmediate(resolve))
  }
  write('one\nand the same')
  write('last')
  process.exit(0)
}
