import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { MeshError, messageOf } from '#base'
import { listenSeqpacket, type Seqpacket } from '#linux'
import type { Logger } from '#telemetry'
import { ZdsConnection } from './zds-connection.ts'

/** A captured pod as ztunnel is told of it; the descriptor is its network namespace. */
export type Announcement = Readonly<{
  uid: string
  name: string
  namespace: string
  serviceAccount: string
  netnsFd: number
}>

type ZdsOptions = Readonly<{
  path: string
  /** Every pod that a ztunnel which connects now has to know. */
  snapshot: () => readonly Announcement[]
  /** What a new ztunnel said to a pod of the snapshot: undefined = it listens in the pod. */
  onAnswer: (uid: string, refusal: Error | undefined) => void
  onConnected: (connections: number) => void
  log: Logger
  ackTimeoutMs?: number
}>

/** Istio accepts at most 5 connections per second: a ztunnel that crashes in a loop must not occupy the agent. */
const acceptsPerSecond = 5
/** Old and new ztunnel during an upgrade, with room for ghosts. */
const maxConnections = 8

/** The agent's end of ZDS: tells every connected ztunnel which pods it serves. */
export class ZdsServer implements Disposable {
  readonly #options: ZdsOptions
  readonly #listener: Disposable
  /** In the order of their hello; the last is the newest. */
  #connections: readonly ZdsConnection[] = []
  readonly #all = new Set<ZdsConnection>()
  #tokens = acceptsPerSecond
  readonly #refill: NodeJS.Timeout

  constructor(options: ZdsOptions) {
    this.#options = options
    mkdirSync(dirname(options.path), { recursive: true, mode: 0o700 })
    this.#refill = setInterval(() => {
      this.#tokens = acceptsPerSecond
    }, 1_000)
    this.#refill.unref()
    this.#listener = listenSeqpacket(options.path, (peer) => this.#accept(peer))
  }

  get connected(): number {
    return this.#connections.length
  }

  /** Announces a pod to the newest ztunnel; resolves when it listens in the pod. */
  async add(pod: Announcement): Promise<void> {
    const newest = this.#connections.at(-1)
    if (!newest) throw new MeshError('unavailable', { message: 'no ztunnel connection' })
    await add(newest, pod)
  }

  /** Withdraws a pod from all; resolves when each has answered or is gone. A refusal changes nothing for us. */
  async remove(uid: string): Promise<void> {
    const payload = { $case: 'del', value: { uid } } as const
    const answers = await Promise.allSettled(this.#connections.map((each) => each.request(payload)))
    for (const answer of answers)
      if (answer.status === 'rejected')
        this.#options.log.warn('ztunnel did not confirm a removal', { uid, error: messageOf(answer.reason) })
  }

  [Symbol.dispose](): void {
    clearInterval(this.#refill)
    this.#listener[Symbol.dispose]()
    for (const connection of this.#all) connection[Symbol.dispose]()
  }

  #accept(peer: Seqpacket): void {
    if (this.#tokens <= 0 || this.#all.size >= maxConnections) {
      this.#options.log.warn('ztunnel connection refused: too many')
      peer[Symbol.dispose]()
      return
    }
    this.#tokens--
    const { ackTimeoutMs } = this.#options
    const connection = new ZdsConnection(peer, ackTimeoutMs === undefined ? {} : { ackTimeoutMs })
    this.#all.add(connection)
    void this.#serve(connection)
  }

  async #serve(connection: ZdsConnection): Promise<void> {
    const { log } = this.#options
    void connection.closed.then((why) => {
      this.#all.delete(connection)
      const wasNewest = this.#connections.at(-1) === connection
      this.#set(this.#connections.filter((each) => each !== connection))
      log.info('ztunnel disconnected', { why })
      const newest = this.#connections.at(-1)
      // What came since was told to the one that left only; the rest the other knows.
      if (wasNewest && newest) void Promise.all(this.#addAll(newest))
    })
    try {
      await connection.hello
      await this.#sendSnapshot(connection)
    } catch (error) {
      log.warn('ztunnel got no snapshot', { error: messageOf(error) })
      connection[Symbol.dispose]()
    }
  }

  /** Announces every captured pod; each promise resolves when it was answered, however. */
  #addAll(connection: ZdsConnection): readonly Promise<void>[] {
    const { snapshot, onAnswer } = this.#options
    return snapshot().map((pod) =>
      add(connection, pod).then(
        () => onAnswer(pod.uid, undefined),
        (error: Error) => onAnswer(pod.uid, error),
      ),
    )
  }

  /**
   * The snapshot and the place among the live connections are taken in one turn, so every later add or removal comes
   * after it in the connection's queue: none is lost, and a descriptor stays open until its removal was answered.
   */
  async #sendSnapshot(connection: ZdsConnection): Promise<void> {
    const { log } = this.#options
    const answers = this.#addAll(connection)
    const done = connection.request({ $case: 'snapshotSent', value: {} })
    this.#set([...this.#connections, connection])
    log.info('ztunnel connected', { pods: answers.length })
    await Promise.all([...answers, done])
  }

  #set(connections: readonly ZdsConnection[]): void {
    this.#connections = connections
    this.#options.onConnected(connections.length)
  }
}

const add = (connection: ZdsConnection, { uid, name, namespace, serviceAccount, netnsFd }: Announcement) =>
  connection.request({ $case: 'add', value: { uid, workloadInfo: { name, namespace, serviceAccount } } }, [
    netnsFd,
  ])

/** ztunnel's side, as far as enrolment needs it. */
export type Announcer = Readonly<{
  add(pod: Announcement): Promise<void>
  remove(uid: string): Promise<void>
}>

/** Before ztunnels may connect there is nobody to announce to, and nobody to withdraw from. */
export class LateAnnouncer implements Announcer {
  #server: ZdsServer | undefined

  use(server: ZdsServer): void {
    this.#server = server
  }

  async add(pod: Announcement): Promise<void> {
    if (!this.#server) throw new MeshError('unavailable', { message: 'ztunnel is not served yet' })
    await this.#server.add(pod)
  }

  async remove(uid: string): Promise<void> {
    await this.#server?.remove(uid)
  }
}
