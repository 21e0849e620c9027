import { messageOf, within } from '#base'
import { type Collection, type KubeClient, kinds, type Pod } from '#kube'
import type { PodFacts, Recheck } from './ca/index.ts'
import { factsOf } from './world.ts'

/**
 * For so long after a change has been heard of the watch is taken for alive. A quiet watch and a dead one look the same,
 * and a dead one is only noticed after a minute and a half; a pod that is gone must not get certificates meanwhile.
 */
const maxSilenceMs = 5_000
/** One answer serves all requests of a node for so long: a node proxy that starts asks for all its identities at once. */
const keepMs = 5_000
/** Nodes asked about at a time; beyond, the caller comes back. */
const maxUnderWay = 64
/** Clients of the certificate service give up after ten seconds. */
const timeoutMs = 5_000

type RecheckOptions = Readonly<{
  client: KubeClient
  pods: Collection<Pod>
  signal: AbortSignal
  now?: () => number
}>

type Asked = Readonly<{ atMs: number; answer: Promise<Recheck> }>

/** Asks the API server for the pods of a node while the watch of pods is silent; so no signature rests on older word than 5 s. */
export function podsRechecked({
  client,
  pods,
  signal,
  now = () => performance.now(),
}: RecheckOptions): (node: string) => Promise<Recheck> {
  let heardAtMs = -Infinity
  const asked = new Map<string, Asked>()
  const heard = pods.subscribe(() => {
    heardAtMs = now()
    asked.clear()
  })
  signal.addEventListener('abort', () => heard[Symbol.dispose](), { once: true })
  let underWay = 0
  const ask = async (node: string): Promise<Recheck> => {
    underWay++
    try {
      const selection = { fieldSelector: `spec.nodeName=${node}` }
      const { items } = await client.list(kinds.Pod, selection, within(timeoutMs, signal))
      const there: readonly PodFacts[] = items.map(factsOf).filter((pod) => pod.node === node)
      return { kind: 'asked', pods: there }
    } catch (error) {
      return { kind: 'unreachable', why: messageOf(error) }
    } finally {
      underWay--
    }
  }
  return async (node) => {
    const atMs = now()
    if (atMs - heardAtMs <= maxSilenceMs) return { kind: 'not-needed' }
    const known = asked.get(node)
    if (known && atMs - known.atMs <= keepMs) return known.answer
    if (underWay >= maxUnderWay) return { kind: 'unreachable', why: 'too many nodes are asked about at once' }
    const answer = ask(node)
    asked.set(node, { atMs, answer })
    void answer.then(
      ({ kind }) => kind === 'unreachable' && asked.get(node)?.answer === answer && asked.delete(node),
    )
    return answer
  }
}
