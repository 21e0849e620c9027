import { Exec, KubeConfig, type V1Status } from '@kubernetes/client-node'
import { Writable } from 'node:stream'
import { MeshError } from '#base'
import type { Pod } from '#kube'

/** More than any command of the story says, a waypoint's metrics included. */
const maxOutputBytes = 4 * 2 ** 20

/** `kubectl exec`: what a command says in a pod's first container. Throws MeshError('unavailable') with its complaint. */
export async function execIn(
  kubeconfig: string,
  { metadata, spec }: Pod,
  command: string[],
  signal: AbortSignal,
): Promise<string> {
  const config = new KubeConfig()
  config.loadFromFile(kubeconfig)
  const { namespace = '', name: pod = '' } = metadata
  const container = spec?.containers?.[0]?.name ?? ''
  const [out, errors] = [collected(), collected()]
  const failed = (why: string) => new MeshError('unavailable', { message: `${command[0]} in ${pod}: ${why}` })
  const { promise: ended, resolve, reject } = Promise.withResolvers<V1Status>()
  const stop = () => reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  try {
    const socket = await new Exec(config).exec(
      namespace,
      pod,
      container,
      command,
      out.sink,
      errors.sink,
      null,
      false,
      resolve,
    )
    socket.onerror = ({ message }) => reject(failed(message))
    socket.onclose = () => reject(failed('closed without a status'))
    try {
      const { status, message } = await ended
      if (status === 'Success') return out.text()
      throw failed(errors.text().trim() || message || 'failed')
    } finally {
      socket.close()
    }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function collected(): { sink: Writable; text: () => string } {
  const chunks: Buffer[] = []
  let bytes = 0
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      bytes += chunk.length
      if (bytes <= maxOutputBytes) chunks.push(chunk)
      done()
    },
  })
  return { sink, text: () => Buffer.concat(chunks).toString() }
}
