import type { ByteStream, BytesUser } from '#hbone'
import type { Way } from './client.ts'

/** A request as a client in a mesh sends it. */
const requestFor = (path: string): string =>
  `${[
    `GET ${path} HTTP/1.1`,
    'Host: web.demo.svc.cluster.local',
    'User-Agent: bench/1.0',
    'Accept: application/json',
    'Accept-Encoding: gzip, deflate',
    'X-Request-Id: 6f0d2f0e-9c1a-4c51-9f52-2b60b1c5b8ee',
    'Cookie: session=0123456789abcdef',
  ].join('\r\n')}\r\n\r\n`

const lengthPattern = /\r\ncontent-length: (\d+)\r\n/i

/** One keep-alive connection: a request, its answer, and so on. */
class Asker implements BytesUser {
  readonly #stream: ByteStream
  readonly #answered: (asker: Asker, sentAt: number) => void
  readonly #failed: (why: unknown) => void
  #head = ''
  /** Of the body, still to come; undefined while the head is. */
  #left: number | undefined
  #sentAt = 0

  constructor(
    stream: ByteStream,
    answered: (asker: Asker, sentAt: number) => void,
    failed: (why: unknown) => void,
  ) {
    this.#stream = stream
    this.#answered = answered
    this.#failed = failed
    stream.use(this)
  }

  ask(text: string, since = performance.now()): void {
    this.#sentAt = since
    this.#stream.text(text)
  }

  bytes(buffer: Buffer, start: number, end: number): number {
    let at = start
    if (this.#left === undefined) {
      const text = this.#head + buffer.toString('latin1', start, end)
      const stop = text.indexOf('\r\n\r\n')
      if (stop < 0) {
        this.#head = text
        return end
      }
      const length = lengthPattern.exec(text)?.[1]
      if (!text.startsWith('HTTP/1.1 200') || length === undefined) {
        this.#failed(new Error(`not the answer: ${text.slice(0, 300)}`))
        return end
      }
      at = start + stop + 4 - this.#head.length
      this.#head = ''
      this.#left = Number(length)
    }
    this.#left -= end - at
    if (this.#left > 0) return end
    this.#left = undefined
    this.#answered(this, this.#sentAt)
    return end
  }

  ended(): void {
    this.#failed(new Error('a connection ended'))
  }
  drained(): void {}
  closed(error: unknown): void {
    this.#failed(error ?? new Error('a connection closed'))
  }

  end(): void {
    this.#stream.destroy()
  }
}

type Load = Readonly<{
  path: string
  connections: number
  seconds: number
  /** Requests per second; undefined: as many as there are answers. */
  rate?: number | undefined
  /** Called when what is measured begins, and when it ends. */
  mark?: () => void
}>
export type Measured = Readonly<{ requests: number; seconds: number; latencies: readonly number[] }>

const warmUpMs = 400
/** How often a load with a rate looks at the clock. */
const tickMs = 1

/** Requests over `connections` for some seconds, after a moment that does not count. */
export async function h1Load(way: Way, o: Load): Promise<Measured> {
  const text = requestFor(o.path)
  const broke = Promise.withResolvers<never>()
  const free: Asker[] = []
  /** When requests were to be sent that found no free connection. */
  const due: number[] = []
  let over = false
  let requests = 0
  let latencies: number[] = []
  const failed = (why: unknown) => over || broke.reject(why)
  const answered = (asker: Asker, sentAt: number) => {
    requests++
    latencies.push(performance.now() - sentAt)
    if (over) return
    if (o.rate === undefined) return asker.ask(text)
    const late = due.shift()
    if (late === undefined) free.push(asker)
    else asker.ask(text, late)
  }
  const streams = await Promise.all(Array.from({ length: o.connections }, () => way.open()))
  const askers = streams.map((stream) => new Asker(stream, answered, failed))
  if (o.rate === undefined) for (const asker of askers) asker.ask(text)
  else free.push(...askers)
  const pace = paced(o.rate, () => {
    const asker = free.shift()
    if (asker) asker.ask(text)
    else due.push(performance.now())
  })
  try {
    const wait = (ms: number) =>
      Promise.race([broke.promise, new Promise((resolve) => setTimeout(resolve, ms))])
    await wait(warmUpMs)
    requests = 0
    latencies = []
    o.mark?.()
    const started = performance.now()
    await wait(o.seconds * 1000)
    o.mark?.()
    return { requests, seconds: (performance.now() - started) / 1000, latencies }
  } finally {
    over = true
    clearInterval(pace)
    for (const asker of askers) asker.end()
  }
}

function paced(rate: number | undefined, send: () => void): NodeJS.Timeout | undefined {
  if (rate === undefined) return undefined
  const started = performance.now()
  let sent = 0
  return setInterval(() => {
    const owed = Math.floor(((performance.now() - started) * rate) / 1000)
    for (; sent < owed; sent++) send()
  }, tickMs)
}

/** One body of so many bytes; how long it took. */
export async function h1Body(way: Way, bytes: number): Promise<number> {
  const stream = await way.open()
  const done = Promise.withResolvers<void>()
  const asker = new Asker(stream, () => done.resolve(), done.reject)
  const started = performance.now()
  asker.ask(requestFor(`/bytes/${bytes}`))
  await done.promise
  const seconds = (performance.now() - started) / 1000
  asker.end()
  return seconds
}
