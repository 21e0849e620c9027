import { BinaryWriter } from '@bufbuild/protobuf/wire'

/** A function of a stack, as V8 names it. */
export type Frame = Readonly<{ functionName: string; url: string; lineNumber: number }>
/** What was measured at one place; the frames begin with the innermost. */
export type Sample = Readonly<{ thread: string; frames: readonly Frame[]; values: readonly number[] }>
type Unit = readonly [type: string, unit: string]
export type Profile = Readonly<{
  samples: readonly Sample[]
  /** What each value of a sample is. */
  units: readonly Unit[]
  /** What lies between two samples, and how much of it. */
  period: Readonly<{ unit: Unit; every: number }>
  startedAt: Date
  durationMs: number
}>

/** The encoding that `go tool pprof` reads (google/pprof, profile.proto), before it is compressed. */
export function encodePprof({ samples, units, period, startedAt, durationMs }: Profile): Uint8Array {
  const out = new BinaryWriter()
  const texts = new Table<string>()
  texts.idOf('') // the first text is the empty one, by definition
  const functions = new Table<string>()
  const unit = ([type, name]: Unit) =>
    new BinaryWriter().uint32(8).int64(texts.idOf(type)).uint32(16).int64(texts.idOf(name)).finish()
  for (const one of units) out.uint32(10).bytes(unit(one))
  const frames: Frame[] = []
  const placeOf = (frame: Frame) => {
    const id = functions.idOf(`${frame.functionName}\n${frame.url}\n${frame.lineNumber}`)
    frames[id] ??= frame
    return id + 1
  }
  for (const { thread, frames: stack, values } of samples) {
    const sample = new BinaryWriter().uint32(10).fork()
    for (const frame of stack) sample.uint64(placeOf(frame))
    sample.join().uint32(18).fork()
    for (const value of values) sample.int64(value)
    sample.join().uint32(26).bytes(label('thread', thread))
    out.uint32(18).bytes(sample.finish())
  }
  function label(key: string, value: string): Uint8Array {
    return new BinaryWriter().uint32(8).int64(texts.idOf(key)).uint32(16).int64(texts.idOf(value)).finish()
  }
  for (const [index, frame] of frames.entries()) writeFrame(out, index + 1, frame, texts)
  const periodUnit = unit(period.unit)
  for (const text of texts.items()) out.uint32(50).string(text)
  out.uint32(72).int64(BigInt(startedAt.getTime()) * 1_000_000n)
  out.uint32(80).int64(Math.round(durationMs * 1e6))
  out.uint32(90).bytes(periodUnit).uint32(96).int64(period.every)
  return out.finish()
}

/** A location and the function it is in, which here are one to one. */
function writeFrame(out: BinaryWriter, id: number, frame: Frame, texts: Table<string>): void {
  const line = Math.max(frame.lineNumber + 1, 0) // V8 counts from 0, and has -1 for code of its own
  const lineOf = new BinaryWriter().uint32(8).uint64(id).uint32(16).int64(line).finish()
  out.uint32(34).bytes(new BinaryWriter().uint32(8).uint64(id).uint32(34).bytes(lineOf).finish())
  const name = texts.idOf(frame.functionName === '' ? '(anonymous)' : frame.functionName)
  const file = texts.idOf(frame.url.replace(/^file:\/\//, ''))
  out
    .uint32(42)
    .fork()
    .uint32(8)
    .uint64(id)
    .uint32(16)
    .int64(name)
    .uint32(24)
    .int64(name)
    .uint32(32)
    .int64(file)
    .uint32(40)
    .int64(line)
    .join()
}

/** Numbers for things, in the order in which they were first seen. */
class Table<T> {
  readonly #ids = new Map<T, number>()
  idOf(item: T): number {
    const known = this.#ids.get(item)
    if (known !== undefined) return known
    this.#ids.set(item, this.#ids.size)
    return this.#ids.size - 1
  }
  items(): Iterable<T> {
    return this.#ids.keys()
  }
}
