import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { destroying, messageOf, within } from '#base'
import type { PodContainer, PodProbe } from '../pod/pod.ts'

/** What a probe is sent to. */
export type ProbeTarget = Readonly<{
  podIp: string
  ports: PodContainer['ports']
  /** Runs a command in the container; its exit code and the end of its output. */
  exec: (command: readonly string[], signal: AbortSignal) => Promise<{ code: number; output: string }>
}>
type Answer = Readonly<{ passed: true }> | Readonly<{ passed: false; message: string }>
type Handler = Pick<PodProbe, 'httpGet' | 'tcpSocket' | 'exec'> & { grpc?: unknown }

const passed: Answer = { passed: true }
const failed = (message: string): Answer => ({ passed: false, message })

/** Asks once, from this process's network namespace: the node's. Never throws. */
export async function ask(
  handler: Handler,
  target: ProbeTarget,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Answer> {
  const deadline = within(timeoutMs, signal)
  try {
    if (handler.exec) return await askExec(handler.exec.command, target, deadline)
    if (handler.httpGet) return await askHttp(handler.httpGet, target, deadline)
    if (handler.tcpSocket) return await askTcp(handler.tcpSocket, target, deadline)
    return failed(handler.grpc ? 'grpc probes are not offered by the sandbox' : 'the probe names no handler')
  } catch (error) {
    return failed(deadline.aborted && !signal.aborted ? `timeout after ${timeoutMs} ms` : messageOf(error))
  }
}

/** A port by number or by the name that the container gives it. */
export function portNumber(port: number | string, ports: PodContainer['ports']): number | undefined {
  if (typeof port === 'number') return port
  return (
    ports.find(({ name }) => name === port)?.containerPort ?? (/^\d+$/.test(port) ? Number(port) : undefined)
  )
}

async function askHttp(
  { path, port, host, scheme, httpHeaders }: NonNullable<PodProbe['httpGet']>,
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<Answer> {
  const number = portNumber(port, target.ports)
  if (number === undefined) return failed(`no port named ${port}`)
  const request = scheme.toUpperCase() === 'HTTPS' ? httpsRequest : httpRequest
  const headers = Object.fromEntries(httpHeaders.map(({ name, value }) => [name.toLowerCase(), value]))
  const outgoing = request({
    host: host ?? target.podIp,
    port: number,
    path: path.startsWith('/') ? path : `/${path}`,
    headers: { 'user-agent': 'kube-probe/1.32', accept: '*/*', connection: 'close', ...headers },
    rejectUnauthorized: false, // as the kubelet: a probe asks whether it answers, not who it is
    agent: false,
    signal,
  })
  using _outgoing = destroying(outgoing)
  outgoing.end()
  const [response] = await once(outgoing, 'response')
  const { statusCode = 0 } = response as { statusCode?: number }
  return statusCode >= 200 && statusCode < 400
    ? passed
    : failed(`HTTP probe failed with statuscode: ${statusCode}`)
}

async function askTcp(
  { port, host }: NonNullable<PodProbe['tcpSocket']>,
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<Answer> {
  const number = portNumber(port, target.ports)
  if (number === undefined) return failed(`no port named ${port}`)
  const socket = connect({ host: host ?? target.podIp, port: number })
  using _socket = destroying(socket)
  await once(socket, 'connect', { signal })
  return passed
}

async function askExec(
  command: readonly string[],
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<Answer> {
  const { code, output } = await target.exec(command, signal)
  return code === 0 ? passed : failed(output.trim() || `exit code ${code}`)
}
