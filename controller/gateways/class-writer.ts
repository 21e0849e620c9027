import { sleep } from '#base'
import { type Collection, type Custom, isStatus, type KubeClient, kinds, workQueue } from '#kube'
import type { Logger } from '#telemetry'
import { conditionWriter, type Wanted, type Writer } from '../reconcile/index.ts'
import { type BuiltInClass, classOf, missingDataPlane } from './classes.ts'
import { nameOf } from './names.ts'

type Options = Readonly<{
  client: KubeClient
  classes: Collection<Custom>
  /** Those that we look after. */
  known: readonly BuiltInClass[]
  log: Logger
}>

/** Between questions whether the kind exists by now. */
const absentMs = 15_000

/** Makes our classes where they are missing. One that exists is never rewritten. */
export const classWriter =
  ({ client, classes, known, log }: Options): Writer =>
  async (signal) => {
    await using queue = workQueue({
      name: 'gateway classes',
      signal,
      log,
      reconcile: async (name, stop) => {
        const missing = known.find((one) => one.name === name)
        if (missing === undefined || classes.get(name) !== undefined) return
        const { controllerName, description } = missing
        const object: Custom = { metadata: { name }, spec: { controllerName, description } }
        try {
          await client.create(kinds.GatewayClass, object, { signal: stop })
          log.info('class made', { name })
        } catch (error) {
          if (isStatus(error, 409)) return // the watch tells what is there now
          if (!isStatus(error, 404)) throw error
          void sleep(absentMs, signal).then(
            () => queue.add(name),
            () => undefined,
          )
        }
      },
    })
    using _classes = classes.subscribe((changes) => {
      for (const { key, row } of changes) if (row === undefined) queue.add(key)
    })
    for (const { name } of known) queue.add(name)
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  }

/** What the status of a class shall say; users' classes with one of our controllers count, others' do not. */
function classConditions(known: readonly BuiltInClass[], object: Custom): Wanted {
  const own = classOf(known, nameOf(object), object)
  if (own === undefined) return { types: [], conditions: [] }
  const message = missingDataPlane(own) ?? `Gateways of this class are handled by ${own.controllerName}`
  return {
    types: ['Accepted'],
    conditions: [{ type: 'Accepted', status: 'True', reason: 'Accepted', message }],
  }
}

export const classStatusWriter = ({ client, classes, known, log }: Options): Writer =>
  conditionWriter({
    client,
    kind: kinds.GatewayClass,
    objects: classes,
    also: classes,
    wanted: (object) => classConditions(known, object),
    fieldManager: 'istio.io/mesh-controller',
    log,
  })
