import { readFileSync, statSync } from 'node:fs'
import type { RequestOptions } from 'node:https'
import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { parse } from 'yaml'
import { isRecord, MeshError } from '#base'

/** What a request presents; asked for before each one, so that a rotated token is picked up. */
export type Credentials = Readonly<{
  token?: string
  cert?: string
  key?: string
  headers?: Record<string, string>
}>

/** Where an API server is and how we show who we are. */
export type Cluster = Readonly<{
  server: URL
  /** PEM of the roots that the server is checked against; undefined for the system's. */
  ca?: string
  serverName?: string
  /** Do not check the server's certificate; only what a kubeconfig asks for. */
  insecure: boolean
  /** The namespace of the context, or of the pod we run in. */
  namespace: string
  credentials: () => Credentials | Promise<Credentials>
}>

const serviceAccountDir = '/var/run/secrets/kubernetes.io/serviceaccount'

/** The cluster of `path`, else of $KUBECONFIG, else of the pod that we run in. Throws MeshError('bad-config'). */
export function loadCluster(path = process.env['KUBECONFIG'], dir = serviceAccountDir): Cluster {
  if (path !== undefined && path !== '') return fromKubeconfig(path)
  const host = process.env['KUBERNETES_SERVICE_HOST']
  if (host === undefined || host === '')
    throw new MeshError('bad-config', { message: 'no cluster: set KUBECONFIG, or run in a pod' })
  return inCluster(host, process.env['KUBERNETES_SERVICE_PORT'] ?? '443', dir)
}

function inCluster(host: string, port: string, dir: string): Cluster {
  const token = reread(`${dir}/token`)
  return {
    server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
    ca: read(`${dir}/ca.crt`),
    insecure: false,
    namespace: read(`${dir}/namespace`).trim(),
    credentials: () => ({ token: token() }),
  }
}

function fromKubeconfig(path: string): Cluster {
  const config: unknown = parse(read(path))
  const context = named(config, 'contexts', 'context', text(config, 'current-context'))
  const cluster = named(config, 'clusters', 'cluster', text(context, 'cluster'))
  const user = named(config, 'users', 'user', text(context, 'user'))
  const server = text(cluster, 'server')
  if (server === undefined || !URL.canParse(server))
    throw new MeshError('bad-config', { message: `${path}: the current context has no server` })
  const ca = material(path, cluster, 'certificate-authority')
  const serverName = text(cluster, 'tls-server-name')
  return {
    server: new URL(server),
    ...(ca === undefined ? {} : { ca }),
    ...(serverName === undefined ? {} : { serverName }),
    insecure: cluster['insecure-skip-tls-verify'] === true,
    namespace: text(context, 'namespace') ?? 'default',
    credentials: credentialsOf(path, user),
  }
}

function credentialsOf(path: string, user: Record<string, unknown>): Cluster['credentials'] {
  if (user['exec'] !== undefined || user['auth-provider'] !== undefined) return fromPlugin(path)
  const cert = material(path, user, 'client-certificate')
  const key = material(path, user, 'client-key')
  const file = text(user, 'tokenFile')
  const rotating = file === undefined ? undefined : reread(resolve(dirname(path), file))
  const fixed = text(user, 'token')
  return () => {
    const token = rotating?.() ?? fixed
    return {
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
      ...(token === undefined ? {} : { token }),
    }
  }
}

/**
 * Credentials that a program or provider makes (EKS, GKE, OIDC …): the official client does that. It is loaded only
 * then, because it costs a second and 90 MB, more than most of our processes need in total.
 */
function fromPlugin(path: string): Cluster['credentials'] {
  const official: typeof import('@kubernetes/client-node') = createRequire(import.meta.url)(
    '@kubernetes/client-node',
  )
  const config = new official.KubeConfig()
  config.loadFromFile(path)
  return async () => {
    const options: RequestOptions = {}
    await config.applyToHTTPSOptions(options)
    return {
      ...(options.cert ? { cert: pem(options.cert) } : {}),
      ...(options.key ? { key: pem(options.key) } : {}),
      ...(isRecord(options.headers) ? { headers: options.headers as Record<string, string> } : {}),
    }
  }
}

const pem = (value: unknown): string =>
  typeof value === 'string' ? value : Buffer.isBuffer(value) ? value.toString('utf8') : ''

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new MeshError('bad-config', { message: `cannot read ${path}`, cause })
  }
}

/** The trimmed content of a file, read again whenever the file was replaced (kubelets rotate tokens). */
function reread(path: string): () => string {
  let seen = ''
  let content = ''
  return () => {
    try {
      const { mtimeMs, ino } = statSync(path)
      const now = `${mtimeMs}/${ino}`
      if (now !== seen) {
        content = readFileSync(path, 'utf8').trim()
        seen = now
      }
    } catch (cause) {
      if (content === '') throw new MeshError('bad-config', { message: `cannot read ${path}`, cause })
    }
    return content
  }
}

const text = (from: unknown, key: string): string | undefined => {
  const value = isRecord(from) ? from[key] : undefined
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** `certificate-authority-data` inline, else the file that `certificate-authority` names. */
function material(path: string, from: Record<string, unknown>, key: string): string | undefined {
  const inline = text(from, `${key}-data`)
  if (inline !== undefined) return Buffer.from(inline, 'base64').toString('utf8')
  const file = text(from, key)
  return file === undefined ? undefined : read(resolve(dirname(path), file))
}

function named(
  config: unknown,
  list: string,
  inner: string,
  name: string | undefined,
): Record<string, unknown> {
  const rows: unknown = isRecord(config) ? config[list] : undefined
  const row: unknown = Array.isArray(rows) ? rows.find((r) => isRecord(r) && r['name'] === name) : undefined
  const value = isRecord(row) ? row[inner] : undefined
  if (isRecord(value)) return value
  throw new MeshError('bad-config', { message: `kubeconfig: no ${inner} named ${name ?? '(none)'}` })
}
