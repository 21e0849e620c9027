import type { LogQuery } from '../logs/read.ts'

type PodName = Readonly<{ namespace: string; pod: string }>
export type Target =
  | Readonly<{ kind: 'health' }>
  | (PodName & Readonly<{ kind: 'logs'; container: string; previous: boolean; query: LogQuery }>)
  | (PodName &
      Readonly<{ kind: 'exec'; container: string; command: readonly string[]; stdin: boolean; tty: boolean }>)
  | (PodName & Readonly<{ kind: 'port-forward'; ports: readonly number[] }>)
  | Readonly<{ kind: 'unknown'; message: string }>

/** What a request to the node asks for; paths and parameters are the kubelet's. */
export function parseRequest(method: string, url: string, now = Date.now()): Target {
  if (!URL.canParse(url, 'http://node')) return { kind: 'unknown', message: 'unreadable URL' }
  const { pathname, searchParams } = new URL(url, 'http://node')
  const [verb, namespace, pod, container] = pathname.slice(1).split('/').map(decoded)
  const flag = (name: string) => ['true', '1'].includes(searchParams.get(name) ?? '')
  if (method === 'GET' && verb === 'healthz') return { kind: 'health' }
  if (method !== 'GET' || namespace === undefined || pod === undefined)
    return { kind: 'unknown', message: `no such path: ${method} ${pathname}` }
  if (verb === 'portForward') return { kind: 'port-forward', namespace, pod, ports: portsOf(searchParams) }
  if (container === undefined) return { kind: 'unknown', message: `no such path: ${pathname}` }
  if (verb === 'containerLogs')
    return {
      kind: 'logs',
      namespace,
      pod,
      container,
      previous: flag('previous'),
      query: logQuery(searchParams, flag, now),
    }
  if (verb === 'exec') {
    const command = searchParams.getAll('command')
    return { kind: 'exec', namespace, pod, container, command, stdin: flag('stdin'), tty: flag('tty') }
  }
  return { kind: 'unknown', message: `no such path: ${pathname}` }
}

function logQuery(parameters: URLSearchParams, flag: (name: string) => boolean, now: number): LogQuery {
  const number = (name: string) => {
    const value = Number(parameters.get(name) ?? Number.NaN)
    return Number.isInteger(value) && value >= 0 ? value : undefined
  }
  const seconds = number('sinceSeconds')
  return {
    follow: flag('follow'),
    timestamps: flag('timestamps'),
    tailLines: number('tailLines'),
    since:
      seconds === undefined
        ? (parameters.get('sinceTime') ?? undefined)
        : new Date(now - seconds * 1000).toISOString(),
    limitBytes: number('limitBytes'),
  }
}

const portsOf = (parameters: URLSearchParams): readonly number[] =>
  [...parameters.getAll('ports'), ...parameters.getAll('port')]
    .flatMap((each) => each.split(','))
    .map(Number)
    .filter((port) => Number.isInteger(port) && port > 0 && port < 65_536)

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
