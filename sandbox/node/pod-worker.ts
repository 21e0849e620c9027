import { rm } from 'node:fs/promises'
import { coalesce, messageOf } from '#base'
import { ContainerRun } from './container-run.ts'
import { finalizePod } from './finalize-pod.ts'
import { type After, afterExit, afterProbe, afterStart, begun } from './pod/after.ts'
import { isOver, isSidecar, planPod, type Plan } from './pod/plan.ts'
import { type NodePod, type PodContainer, podKey } from './pod/pod.ts'
import { type ContainerRecord, creating, newRecord } from './pod/records.ts'
import { statusOf } from './pod/status.ts'
import { type SavedPod, savePod } from './pod-store.ts'
import type { ProbeNews } from './probes/prober.ts'
import { type Exit, waitForStart } from './runtime/container.ts'
import { createSandbox, type PodSandbox, removeSandbox } from './runtime/pod-sandbox.ts'
import { startPodContainer } from './start-container.ts'
import { StatusWriter } from './status-writer.ts'
import { type Prepared, prepareVolumes } from './volumes/volumes.ts'
import { podDir, runDirOf, type WorkerContext } from './worker-context.ts'

/** ConfigMaps, Secrets and tokens are brought up to date this often. */
const volumeRefreshMs = 3_000
/** A network that could not be made is tried again after this. */
const retryMs = 1_000
/** What a volume is made of is watched, so looking again soon costs nothing. */
const volumeRetryMs = 250
/** A pod that was taken out of the API by force is not waited for. */
const forcedGraceMs = 1_000
/** A container that was being started when the agent before us ended. */
const adoptStartMs = 5_000

/** Runs one pod on this node: makes what it says so, tells how it is, takes it down when it is deleted. */
export class PodWorker {
  /** Resolves when the pod is gone from this node. */
  readonly gone: Promise<void>
  readonly #context: WorkerContext
  readonly #dir: string
  readonly #writer: StatusWriter
  readonly #records = new Map<string, ContainerRecord>()
  readonly #runs = new Map<string, ContainerRun>()
  readonly #gone = Promise.withResolvers<void>()
  readonly #reconcile = coalesce(() => this.#turn())
  #pod: NodePod
  #sandbox: PodSandbox | undefined
  #volumes: Prepared | undefined
  #startTime = Date.now()
  #timer: NodeJS.Timeout | undefined
  #forced = false
  #ending: Promise<void> | undefined
  /** Ends what is being made for the pod when the pod is to end. */
  readonly #making = new AbortController()

  constructor(context: WorkerContext, pod: NodePod) {
    this.#pod = pod
    this.#dir = podDir(context, pod.metadata.uid)
    this.#context = { ...context, signal: AbortSignal.any([context.signal, this.#making.signal]) }
    this.#writer = new StatusWriter(context.client, pod, context.signal, context.log)
    this.gone = this.#gone.promise
    const release = () => void this.#release()
    context.signal.addEventListener('abort', release, { once: true })
    // The agent outlives its pods, and would hold on to each of them by its listener.
    void this.gone.then(() => context.signal.removeEventListener('abort', release))
  }

  /** Goes on with a pod that an earlier agent ran: containers that still run are kept. */
  static async adopt(context: WorkerContext, saved: SavedPod): Promise<PodWorker> {
    const worker = new PodWorker(context, saved.pod)
    worker.#sandbox = saved.sandbox
    worker.#startTime = saved.startTime
    for (const record of saved.records) await worker.#adoptContainer(record)
    return worker
  }

  get pod(): NodePod {
    return this.#pod
  }

  /** The pod's network namespace; undefined while it has none. */
  get netnsPath(): string | undefined {
    return this.#sandbox?.netnsPath
  }

  /** Directory of a container's present run, or of the one before; undefined when there is none. */
  runDir(container: string, previous = false): string | undefined {
    const run = (this.#records.get(container)?.run ?? -1) - Number(previous)
    return run < 0 ? undefined : runDirOf(this.#dir, container, run)
  }

  /** The pod as it now is in the API. */
  update(pod: NodePod): void {
    this.#pod = pod
    if (pod.metadata.deletionTimestamp !== undefined)
      this.#making.abort(new Error('the pod is being deleted'))
    this.#wake()
  }

  /** The pod is no longer in the API: it ends without ceremony. */
  remove(): void {
    this.#forced = true
    this.#making.abort(new Error('the pod was deleted'))
    if (this.#ending) for (const run of this.#runs.values()) void run.stop(0)
    this.#wake()
  }

  #wake(): void {
    this.#reconcile().catch((error: unknown) => {
      if (this.#context.signal.aborted) return
      this.#context.log.error('pod reconcile failed', { pod: podKey(this.#pod), error: messageOf(error) })
      this.#wakeIn(retryMs)
    })
  }

  #wakeIn(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#wake(), ms)
  }

  async #turn(): Promise<void> {
    if (this.#forced || this.#pod.metadata.deletionTimestamp !== undefined) {
      this.#ending ??= this.#end().catch((error: unknown) => {
        this.#ending = undefined
        throw error
      })
      return this.#ending
    }
    // It ended in an earlier life of the cluster: nothing runs again.
    if (this.#records.size === 0 && isOver(this.#pod.status.phase)) return
    const before = this.#plan()
    if (isOver(before.phase)) return this.#afterwards(before)
    if (!(await this.#made())) return this.#wakeIn(this.#sandbox ? volumeRetryMs : retryMs)
    const { start } = before
    for (const container of start) {
      if (this.#making.signal.aborted) return
      await this.#start(container)
    }
    await this.#save()
    this.#publish()
    const { wakeAt } = this.#plan()
    this.#wakeIn(
      Math.min(volumeRefreshMs, wakeAt === undefined ? Infinity : Math.max(0, wakeAt - Date.now())),
    )
  }

  #plan(): Plan {
    return planPod(this.#pod, this.#records, Date.now())
  }

  #publish(plan = this.#plan()): void {
    const { node } = this.#context
    const facts = {
      podIps: this.#sandbox?.ips ?? [],
      hostIps: [node.ipv4, node.ipv6],
      startTime: this.#startTime,
      now: Date.now(),
    }
    void this.#writer.set(statusOf(this.#pod, this.#records, plan, facts))
  }

  #save(): Promise<void> {
    return savePod(this.#dir, {
      pod: this.#pod,
      ...(this.#sandbox && { sandbox: this.#sandbox }),
      startTime: this.#startTime,
      records: [...this.#records.values()],
    })
  }

  /** Network and volumes stand. What fails is told and tried again later. */
  async #made(): Promise<boolean> {
    if (!this.#sandbox) {
      try {
        await this.#save()
        this.#publish()
        this.#sandbox = await createSandbox(this.#context.node, this.#pod, this.#context.signal)
        await this.#save()
        this.#publish()
      } catch (error) {
        return this.#cannot('FailedCreatePodSandBox', `Failed to create pod sandbox: ${messageOf(error)}`)
      }
    }
    return this.#refreshVolumes()
  }

  async #refreshVolumes(): Promise<boolean> {
    const { node, contents } = this.#context
    const facts = { podIps: this.#sandbox?.ips ?? [], hostIps: [node.ipv4, node.ipv6] }
    const context = { pod: this.#pod, facts, dir: `${this.#dir}/volumes`, nodeRoot: node.root, contents }
    try {
      const prepared = await prepareVolumes(context)
      if (prepared.kind === 'ready') this.#volumes = prepared.volumes
      else this.#cannot('FailedMount', prepared.message)
    } catch (error) {
      this.#cannot('FailedMount', messageOf(error))
    }
    // Volumes that were made once stay usable while what they come from is away.
    return this.#volumes !== undefined
  }

  #cannot(reason: string, message: string): false {
    if (!this.#context.signal.aborted) {
      this.#context.log.warn(reason, { pod: podKey(this.#pod), message })
      this.#context.tell(this.#pod, 'Warning', reason, message)
      this.#publish()
    }
    return false
  }

  async #start(container: PodContainer): Promise<void> {
    const sandbox = this.#sandbox
    const volumes = this.#volumes
    if (!sandbox || !volumes) return
    const { name } = container
    const record = this.#recordOf(name)
    const run = record.run + 1
    // Said before it is done: an agent that comes after a crash in between looks for the run.
    this.#records.set(name, creating(record, run))
    await this.#save()
    const result = await startPodContainer(
      { pod: this.#pod, container, run, sandbox, volumes },
      this.#context,
    )
    const attempt = { before: record, record: this.#recordOf(name), run }
    this.#apply(name, afterStart(container, attempt, result, Date.now()))
    if (result.kind === 'started') this.#follow(container, run, false)
  }

  #apply(name: string, { record, event }: After): void {
    this.#records.set(name, record)
    if (event) this.#context.tell(this.#pod, event.type, event.reason, event.message, name)
  }

  #recordOf(name: string): ContainerRecord {
    return this.#records.get(name) ?? newRecord(name)
  }

  #follow(container: PodContainer, run: number, started: boolean): void {
    const { name } = container
    const follower = new ContainerRun({
      dir: runDirOf(this.#dir, name, run),
      container,
      podIp: this.#sandbox?.ips[0] ?? '',
      started,
      onProbe: (news) => this.#onProbe(container, run, news),
      onExit: (exit) => this.#onExit(container, run, exit),
    })
    this.#runs.set(name, follower)
  }

  #onExit({ name }: PodContainer, run: number, exit: Exit): void {
    const after = afterExit(this.#recordOf(name), run, exit)
    if (!after) return
    this.#runs.delete(name)
    this.#apply(name, after)
    this.#publish()
    this.#wake()
  }

  #onProbe(container: PodContainer, run: number, news: ProbeNews): void {
    const { name } = container
    const record = this.#recordOf(name)
    const after = afterProbe(container, record, run, news)
    if (!after) return
    this.#apply(name, after)
    if (after.stop) void this.#runs.get(name)?.stop(this.#graceMs())
    if (after.record === record) return
    this.#publish()
    this.#wake()
  }

  #graceMs(): number {
    if (this.#forced) return forcedGraceMs
    const { deletionGracePeriodSeconds } = this.#pod.metadata
    return 1000 * (deletionGracePeriodSeconds ?? this.#pod.spec.terminationGracePeriodSeconds)
  }

  /** Nothing of the pod will run again: helpers end, the network is given back, the object stays. */
  async #afterwards(plan: Plan): Promise<void> {
    await this.#stopAll()
    const sandbox = this.#sandbox
    if (sandbox?.netns !== undefined) {
      await removeSandbox(this.#context.node, sandbox)
      // The addresses stay in the status, as in Kubernetes; the namespace is gone.
      const { containerId, netnsPath, ips } = sandbox
      this.#sandbox = { containerId, netnsPath, ips }
    }
    await this.#save()
    this.#publish(plan)
  }

  /** Ends the containers, the helpers after the others. */
  async #stopAll(): Promise<void> {
    const helpers = new Set(this.#pod.spec.initContainers.filter(isSidecar).map(({ name }) => name))
    for (const late of [false, true]) {
      const runs = [...this.#runs].filter(([name]) => helpers.has(name) === late)
      await Promise.all(runs.map(([, each]) => each.stop(this.#graceMs())))
    }
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer)
    const { log, node, contents, tell } = this.#context
    for (const name of this.#runs.keys())
      tell(this.#pod, 'Normal', 'Killing', `Stopping container ${name}`, name)
    await this.#stopAll()
    this.#publish()
    if (this.#sandbox)
      await removeSandbox(node, this.#sandbox).catch((error: unknown) =>
        log.warn('pod network not detached cleanly', { pod: podKey(this.#pod), error: messageOf(error) }),
      )
    await rm(this.#dir, { recursive: true, force: true })
    contents.forget(this.#pod.metadata.uid)
    if (!this.#forced) await finalizePod(this.#context.client, this.#pod)
    this.#gone.resolve()
  }

  async #adoptContainer(record: ContainerRecord): Promise<void> {
    this.#records.set(record.name, record)
    const { spec } = this.#pod
    const container = [...spec.initContainers, ...spec.containers].find(({ name }) => name === record.name)
    if (!container || record.run < 0) return
    const dir = runDirOf(this.#dir, record.name, record.run)
    if (record.state.kind === 'running') this.#follow(container, record.run, record.started)
    if (record.state.kind !== 'waiting' || record.state.reason !== 'ContainerCreating') return
    // The agent before us was starting it. If it did not come about, a next run will.
    const outcome = await waitForStart(dir, AbortSignal.timeout(adoptStartMs)).catch(() => undefined)
    if (outcome?.kind !== 'started') return
    this.#records.set(record.name, begun(container, record, record.run, Date.now()))
    this.#follow(container, record.run, false)
  }

  async #release(): Promise<void> {
    clearTimeout(this.#timer)
    await Promise.all([...this.#runs.values()].map((each) => each.release()))
  }
}
