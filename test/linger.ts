/**
 * Imported before each test file by test/run.ts. A file whose tests have ended but whose process lives on, because
 * something of it is still open, is told and ended; it would otherwise stand for the runner's whole time limit and fail there.
 */
import { isMainThread } from 'node:worker_threads'

const patienceMs = 30_000

if (isMainThread) {
  const { default: t } = await import('tap')
  t.teardown(() => {
    setTimeout(() => {
      const open = process.getActiveResourcesInfo().join(', ')
      process.stderr.write(`${process.argv[1]}: ended, but these are still open: ${open}\n`)
      process.exit()
    }, patienceMs).unref()
  })
}
