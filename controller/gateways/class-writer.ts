import { sleep } from '#base'
import { type Collection, type Custom, isStatus, type KubeClient, kinds, workQueue } from '#kube'
import type { Logger } from '#telemetry'
import { conditionWriter, type Wanted, type Writer } from '../reconcile/index.ts'
import { builtInClasses, classOf } from './classes.ts'
import { nameOf } from './names.ts'

type Options = Readonly<{ client: KubeClient; classes: Collection<Custom>; log: Logger }>

/** Between questions whether the kind exists by now. */
const absentMs = 15_000

/** Makes the classes that we serve where they are missing. One that exists is never rewritten. */
export const classWriter =
  ({ client, classes, log }: Options): Writer =>
  async (signal) => {
    await using queue = workQueue({
      name: 'gateway classes',
      signal,
      log,
      reconcile: async (name, stop) => {
        const known = builtInClasses.find((one) => one.name === name && one.served)
        if (known === undefined || classes.get(name) !== undefined) return
        const { controllerName, description } = known
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
    for (const { name } of builtInClasses) queue.add(name)
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }))
  }

/** What the status of a class shall say; users' classes with one of our controllers count, others' do not. */
export function classConditions(object: Custom): Wanted {
  const known = classOf(nameOf(object), object)
  if (known?.served !== true) return { types: [], conditions: [] }
  const message = `Gateways of this class are handled by ${known.controllerName}`
  return {
    types: ['Accepted'],
    conditions: [{ type: 'Accepted', status: 'True', reason: 'Accepted', message }],
  }
}

export const classStatusWriter = ({ client, classes, log }: Options): Writer =>
  conditionWriter({
    client,
    kind: kinds.GatewayClass,
    objects: classes,
    also: classes,
    wanted: classConditions,
    fieldManager: 'istio.io/mesh-controller',
    log,
  })
