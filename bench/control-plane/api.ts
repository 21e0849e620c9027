/** A Kubernetes API server with a mesh in it, which changes on order. Ends with its parent. */
import { sleep } from '#base'
import {
  firstState,
  ground,
  type PodState,
  podObject,
  podName,
  namespaceOfService,
  serviceObject,
  type Size,
  sliceObject,
  type Stored,
} from './mesh.ts'
import { nowMs, obey } from './orders.ts'
import { serveStore } from './serve.ts'
import { Store } from './store.ts'

const store = new Store()
const states: PodState[] = []
let size: Size = { pods: 0, services: 1, nodes: 1 }
const number = (value: unknown) => Number(value)
const forever = new AbortController().signal

const put = (object: Stored) => store.put(object)
const putPod = (n: number) => put(podObject(n, states[n] ?? firstState, size))
const putSlice = (service: number) => put(sliceObject(service, states, size))
const uidOf = (n: number) =>
  `Kubernetes//Pod/${namespaceOfService(n % size.services)}/${podName(n, size, states[n]?.life)}`

function grow(to: number): void {
  for (let n = states.length; n < to; n++) {
    states.push(firstState)
    putPod(n)
  }
  for (let service = 0; service < size.services; service++) putSlice(service)
}

/** What pods do in a cluster, in turn: another version, readiness lost or found, replaced by another. */
function change(n: number): void {
  const state = states[n] ?? firstState
  switch (n % 4) {
    case 0:
      states[n] = { ...state, revision: state.revision + 1 }
      return void putPod(n)
    case 1: {
      store.remove('/api/v1/pods', `${namespaceOfService(n % size.services)}/${podName(n, size, state.life)}`)
      states[n] = { ...state, life: state.life + 1 }
      break
    }
    default:
      states[n] = { ...state, ready: !state.ready }
  }
  putPod(n)
  putSlice(n % size.services)
}

obey({
  async load({ pods, services, nodes, secret }) {
    size = { pods: number(pods), services: number(services), nodes: number(nodes) }
    for (const object of ground(size)) put(object)
    put(secret as Stored)
    for (let n = 0; n < size.services; n++) put(serviceObject(n))
    grow(size.pods)
    store.forget()
    return serveStore(store)
  },
  /** A page of pods at a time, so that watches are not flooded. */
  async grow({ to }) {
    for (let n = states.length; n < number(to); n += 500) {
      grow(Math.min(n + 500, number(to)))
      await sleep(20, forever)
    }
    store.forget()
  },
  /** One pod has another version; answers with what changed and when. */
  touch({ n }) {
    const at = number(n)
    states[at] = { ...(states[at] ?? firstState), revision: (states[at]?.revision ?? 0) + 1 }
    const atMs = nowMs()
    putPod(at)
    return { uid: uidOf(at), atMs }
  },
  uid: ({ n }) => uidOf(number(n)),
  async churn({ perSecond, seconds }) {
    const [rate, total] = [number(perSecond), number(perSecond) * number(seconds)]
    const startedMs = nowMs()
    for (let done = 0; done < total; ) {
      const due = Math.min(total, Math.ceil(((nowMs() - startedMs) * rate) / 1000))
      for (; done < due; done++) change((done * 37) % states.length)
      await sleep(5, forever)
    }
    return { changes: total, seconds: (nowMs() - startedMs) / 1000 }
  },
})
