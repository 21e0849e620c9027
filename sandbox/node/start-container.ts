import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { compileCache } from '../compile-cache.ts'
import { findImage } from '../images/index.ts'
import { keepTarget } from './container-run.ts'
import { containerEnv, expand, type KeyValues } from './pod/env.ts'
import { etcHosts, hostnameOf, resolvConf } from './pod/etc.ts'
import type { NodePod, PodContainer } from './pod/pod.ts'
import { identityOf } from './pod/security.ts'
import { startContainer } from './runtime/container.ts'
import type { ContainerPlan, Mount } from './runtime/init-script.ts'
import type { PodSandbox } from './runtime/pod-sandbox.ts'
import { mountsOf, type Prepared } from './volumes/volumes.ts'
import { podDir, runDirOf, type WorkerContext } from './worker-context.ts'

type StartRequest = Readonly<{
  pod: NodePod
  container: PodContainer
  run: number
  sandbox: PodSandbox
  volumes: Prepared
}>
export type StartResult =
  | Readonly<{ kind: 'started'; dir: string }>
  /** It cannot be started as it is described; something outside must change first. */
  | Readonly<{ kind: 'waiting'; reason: string; message: string }>
  /** Its program could not be started. */
  | Readonly<{ kind: 'failed'; message: string }>

/** Resolves everything that a container names and starts it. */
export async function startPodContainer(request: StartRequest, context: WorkerContext): Promise<StartResult> {
  const { pod, container, run, sandbox } = request
  const { config, node, signal } = context
  const found = findImage(container.image, compileCache)
  if (found.kind === 'unknown') return { kind: 'waiting', reason: 'ErrImagePull', message: found.message }
  const { image } = found
  const facts = { podIps: sandbox.ips, hostIps: [node.ipv4, node.ipv6] }
  const base = {
    HOME: '/root',
    ...image.env,
    HOSTNAME: hostnameOf(pod),
    KUBERNETES_SERVICE_HOST: config.apiServiceIp,
    KUBERNETES_SERVICE_PORT: '443',
    KUBERNETES_SERVICE_PORT_HTTPS: '443',
  }
  const references = await referencesOf(pod, container, context)
  const env = containerEnv(pod, container, facts, base, references)
  if (env.kind === 'missing')
    return { kind: 'waiting', reason: 'CreateContainerConfigError', message: env.message }
  const mounting = await mountsOf(container, request.volumes, env.env, context.nodeInit())
  if (mounting.kind === 'invalid')
    return { kind: 'waiting', reason: 'CreateContainerConfigError', message: mounting.message }
  const pods = podDir(context, pod.metadata.uid)
  const dir = runDirOf(pods, container.name, run)
  await mkdir(dir, { recursive: true })
  await dropOldRuns(`${pods}/containers/${container.name}`, run)
  const plan: ContainerPlan = {
    dir,
    netns: sandbox.netnsPath,
    hostname: hostnameOf(pod),
    processes: pod.spec.hostPID ? 'host' : 'own',
    command: commandOf(container, image.entrypoint, env.env),
    env: env.env,
    workingDir: container.workingDir ?? '/',
    mounts: [
      ...image.binds.map((bind): Mount => ({ ...bind, kind: 'dir', propagation: 'private' })),
      ...(await etcMounts(pod, sandbox, pods, config)),
      ...mounting.mounts,
      // Among the machine's processes, number 1 must be the node's: its network namespace is what agents look for.
      ...(pod.spec.hostPID ? [nodeAsFirst(context.nodeInit())] : []),
    ],
    ...identityOf(pod, container),
  }
  await keepTarget({
    dir,
    user: plan.user,
    capabilities: plan.capabilities,
    env: plan.env,
    workingDir: plan.workingDir,
  })
  const started = await startContainer(plan, signal)
  return started.kind === 'failed' ? started : { kind: 'started', dir }
}

const nodeAsFirst = (nodeInit: number): Mount => ({
  source: `/proc/${nodeInit}`,
  target: '/proc/1',
  kind: 'dir',
  readOnly: false,
  propagation: 'private',
})

/** As in Kubernetes: `command` replaces the image's entrypoint, `args` follow either. */
function commandOf(
  { command, args }: PodContainer,
  entrypoint: readonly string[],
  env: Readonly<Record<string, string>>,
): readonly string[] {
  const words = [...(command.length > 0 ? command : entrypoint), ...args]
  return words.map((word) => expand(word, env))
}

/** The ConfigMaps and Secrets that the environment names, read once. */
async function referencesOf(pod: NodePod, container: PodContainer, { contents }: WorkerContext) {
  const { namespace } = pod.metadata
  const configMaps = new Map<string, KeyValues>()
  const secrets = new Map<string, KeyValues>()
  const names = {
    configMap: [
      ...container.envFrom.map(({ configMapRef }) => configMapRef?.name),
      ...container.env.map(({ valueFrom }) => valueFrom?.configMapKeyRef?.name),
    ],
    secret: [
      ...container.envFrom.map(({ secretRef }) => secretRef?.name),
      ...container.env.map(({ valueFrom }) => valueFrom?.secretKeyRef?.name),
    ],
  }
  for (const name of names.configMap)
    if (name) configMaps.set(name, text(await contents.configMap(namespace, name)))
  for (const name of names.secret) if (name) secrets.set(name, text(await contents.secret(namespace, name)))
  return { configMap: (name: string) => configMaps.get(name), secret: (name: string) => secrets.get(name) }
}

const text = (contents: ReadonlyMap<string, Buffer> | undefined): KeyValues =>
  contents && Object.fromEntries([...contents].map(([key, value]) => [key, value.toString('utf8')]))

/** The three files that every container of the pod shares. A pod's own hosts file is kept once written. */
async function etcMounts(
  pod: NodePod,
  sandbox: PodSandbox,
  dir: string,
  config: WorkerContext['config'],
): Promise<readonly Mount[]> {
  const files = {
    hosts: etcHosts(pod, config, sandbox.ips),
    'resolv.conf': resolvConf(pod, config),
    hostname: `${hostnameOf(pod)}\n`,
  }
  await mkdir(`${dir}/etc`, { recursive: true })
  return Promise.all(
    Object.entries(files).map(async ([name, content]): Promise<Mount> => {
      const source = `${dir}/etc/${name}`
      await writeFile(source, content, { flag: 'wx', mode: 0o644 }).catch(() => undefined)
      return { source, target: `/etc/${name}`, kind: 'file', readOnly: false, propagation: 'private' }
    }),
  )
}

/** The run before is kept for `kubectl logs --previous`. */
async function dropOldRuns(dir: string, run: number): Promise<void> {
  for (const name of await readdir(dir))
    if (Number(name) < run - 1) await rm(`${dir}/${name}`, { recursive: true, force: true })
}
