import { listenSeqpacket, type Netns, type Seqpacket } from '#linux'
import { zds } from '#wire'

type FakePod = { uid: string; name: string; namespace: string; serviceAccount: string; netns: Netns }

/** A node agent: one message at a time, each waits for its ack. */
export class FakeAgent {
  readonly #listener: Disposable
  readonly #connected: PromiseWithResolvers<Seqpacket>[] = []
  #peer: Seqpacket | undefined
  #ack: PromiseWithResolvers<string> | undefined
  /** How many ztunnels have said hello. */
  hellos = 0

  constructor(path: string) {
    this.#listener = listenSeqpacket(path, (peer) => this.#onConnection(peer))
  }

  /** Resolves after the next hello. */
  async connected(): Promise<void> {
    const waiter = Promise.withResolvers<Seqpacket>()
    if (this.#peer) return
    this.#connected.push(waiter)
    await waiter.promise
  }

  /** Each returns the text of the ack, '' for ok. */
  add({ uid, name, namespace, serviceAccount, netns }: FakePod): Promise<string> {
    return this.#send({ $case: 'add', value: { uid, workloadInfo: { name, namespace, serviceAccount } } }, [
      netns.fd,
    ])
  }
  keep(uid: string): Promise<string> {
    return this.#send({ $case: 'keep', value: { uid } })
  }
  del(uid: string): Promise<string> {
    return this.#send({ $case: 'del', value: { uid } })
  }
  snapshotSent(): Promise<string> {
    return this.#send({ $case: 'snapshotSent', value: {} })
  }
  raw(bytes: Uint8Array, fds: readonly number[] = []): Promise<string> {
    this.#ack = Promise.withResolvers()
    this.#peer?.send(bytes, fds)
    return this.#ack.promise
  }
  disconnect(): void {
    this.#peer?.[Symbol.dispose]()
    this.#peer = undefined
  }
  [Symbol.dispose](): void {
    this.disconnect()
    this.#listener[Symbol.dispose]()
  }

  #send(payload: zds.WorkloadRequest['payload'], fds: readonly number[] = []): Promise<string> {
    if (!this.#peer) return Promise.reject(new Error('no ztunnel is connected'))
    return this.raw(zds.WorkloadRequest.encode({ payload }).finish(), fds)
  }

  #onConnection(peer: Seqpacket): void {
    let greeted = false
    peer.onMessage = (bytes) => {
      if (!greeted) {
        greeted = zds.ZdsHello.decode(bytes).version === zds.Version.V1
        this.hellos++
        this.#peer = peer
        for (const { resolve } of this.#connected.splice(0)) resolve(peer)
        return
      }
      const { payload } = zds.WorkloadResponse.decode(bytes)
      this.#ack?.resolve(payload?.value.error ?? 'no ack')
    }
    peer.onClose = () => {
      if (this.#peer === peer) this.#peer = undefined
      this.#ack?.resolve('disconnected')
    }
  }
}
