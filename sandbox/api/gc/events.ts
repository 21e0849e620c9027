import type { Api } from '../rest/api.ts'
import { scalarAt } from '../rest/object.ts'

/** Kubernetes keeps events for an hour. */
const eventLifeMs = 3_600_000
const sweepIntervalMs = 300_000
const resources = ['events', 'events.events.k8s.io']

/** Removes events that nothing has been added to for an hour, so that they do not fill the store. */
export function startEventSweeper(api: Api): Disposable {
  const timer = setInterval(() => sweepEvents(api), sweepIntervalMs)
  timer.unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** One round of it. */
export function sweepEvents({ store, now }: Api): void {
  const horizon = now() - eventLifeMs
  for (const resource of resources)
    for (const event of store.list(resource)) {
      const times = ['lastTimestamp', 'eventTime'].map((field) => Date.parse(scalarAt(event, field)))
      const seen = [...times, Date.parse(event.metadata.creationTimestamp ?? '')].filter(
        (time) => !Number.isNaN(time),
      )
      if (Math.max(...seen) < horizon) store.remove(resource, event)
    }
}
