import { closeSync, fstatSync } from 'node:fs'
import { connectSeqpacket, type Seqpacket } from '#linux'
import { zds } from '#wire'

/** What the agent said: `add order-1`, `del u-1`, `snapshot sent`. */
type Said = Readonly<{ text: string; inode: bigint | undefined }>

/** A ztunnel as far as ZDS goes: says hello, acks as told, remembers what it heard. */
export class FakeZtunnel implements Disposable {
  readonly said: Said[] = []
  /** How to answer; undefined = not at all. */
  answer: (text: string) => string | Uint8Array | undefined = () => ''
  readonly closed: Promise<void>
  readonly #peer: Seqpacket
  #waiters: (() => void)[] = []

  constructor(path: string, hello: Uint8Array = zds.ZdsHello.encode({ version: 1 }).finish()) {
    this.#peer = connectSeqpacket(path)
    const closed = Promise.withResolvers<void>()
    this.closed = closed.promise
    this.#peer.onClose = () => closed.resolve()
    this.#peer.onMessage = (bytes, fds) => this.#hear(bytes, fds)
    if (hello.length > 0) this.#peer.send(hello) // none at all when empty
  }

  send(bytes: Uint8Array, fds?: readonly number[]): void {
    this.#peer.send(bytes, fds)
  }

  /** Resolves when something like this has been said. */
  async heard(pattern: RegExp): Promise<Said> {
    for (;;) {
      const found = this.said.find(({ text }) => pattern.test(text))
      if (found) return found
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
  }

  texts(): readonly string[] {
    return this.said.map(({ text }) => text)
  }

  [Symbol.dispose](): void {
    this.#peer[Symbol.dispose]()
  }

  #hear(bytes: Uint8Array, fds: readonly number[]): void {
    const { payload } = zds.WorkloadRequest.decode(bytes)
    const text = describe(payload)
    const [fd] = fds
    this.said.push({ text, inode: fd === undefined ? undefined : fstatSync(fd, { bigint: true }).ino })
    for (const each of fds) closeSync(each)
    const answer = this.answer(text)
    if (answer instanceof Uint8Array) this.#peer.send(answer)
    else if (answer !== undefined) this.#peer.send(ack(answer))
    for (const waiter of this.#waiters.splice(0)) waiter()
  }
}

export const ack = (error: string): Uint8Array =>
  zds.WorkloadResponse.encode({ payload: { $case: 'ack', value: { error } } }).finish()

function describe(payload: zds.WorkloadRequest['payload']): string {
  switch (payload?.$case) {
    case 'add': {
      const { name, namespace, serviceAccount } = payload.value.workloadInfo ?? {}
      return `add ${payload.value.uid} ${namespace}/${name} as ${serviceAccount}`
    }
    case 'del':
      return `del ${payload.value.uid}`
    case 'keep':
      return `keep ${payload.value.uid}`
    case 'snapshotSent':
      return 'snapshot sent'
    default:
      return 'nothing'
  }
}
