// Mutated frame sequences and header blocks against the HTTP/2 core, guided by behaviour: an input that does something
// new is mutated further. FUZZ_SEED repeats a run, FUZZ_COUNT makes it longer. Seeds are in test/corpus/{frames,hpack};
// whatever breaks a rule is printed in hex and belongs there.
import t, { type Test } from 'tap'
import type { HboneLimits } from '#hbone'
import { hpackEncode } from '../../lib/hbone/hpack/encode.ts'
import { type Field, HpackDecoder } from '../../lib/hbone/hpack/decode.ts'
import { headers, hello, none, parseFrames, type Peer, peerOf, type } from '../lib/hbone/frames.ts'
import { connectOnly, rawClient } from './h2-kit.ts'
import { blind, corpus, Finds, frameMutations, mutate, type Random, randomOf } from './h2-fuzz-kit.ts'
import { figure } from './h2-attack-kit.ts'
import { serve } from '../lib/hbone/support.ts'

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000)
const count = Number(process.env.FUZZ_COUNT ?? 60_000)
// On a busy machine.
t.setTimeout(200_000)

t.comment(`FUZZ_SEED=${seed}`)

const mib = 1 << 20
const limits: Partial<HboneLimits> = { maxStreams: 20, maxFrameBytes: 65_536 }

/** A connection in which one tunnel is open. */
function opened(role: 'server' | 'client'): Peer {
  const peer = peerOf(role, limits)
  if (role === 'server') peer.feed(hello, headers(1))
  else {
    for (let i = 0; i < 3; i++) {
      const stream = peer.connection.open([
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
      ])
      stream.listener = {
        response: ({ status }) => void peer.events.push(`${stream.id} status ${status}`),
        bytes: (_, start, end) => peer.connection.consumed(stream, end - start),
        ended: () => void peer.events.push(`${stream.id} ended`),
        reset: (code) => void peer.events.push(`${stream.id} reset ${code}`),
        writable: () => undefined,
      }
    }
    peer.feed(hello.subarray(24), headers(1, 0, hpackEncode([[':status', '200']])))
  }
  peer.events.length = 0
  return peer
}

/** What is wrong with what a connection did; undefined when nothing is. */
function wrong(peer: Peer, input: Buffer, out: Buffer): string | undefined {
  const frames = parseFrames(out)
  const length = frames.reduce((sum, { payload }) => sum + 9 + payload.length, 0)
  if (length !== out.length) return 'output that is no frames'
  const { connection } = peer
  if (connection.held > 8 * mib) return `holds ${connection.held}`
  if (connection.held < 0) return 'gives back what it has not got'
  if (connection.streamCount > 20) return `${connection.streamCount} streams`
  if (out.length > 100 + 40 * input.length) return `${out.length} bytes of answer to ${input.length}`
  const at = frames.findIndex((one) => one.type === type.goaway && one.payload.readUInt32BE(4) !== 0)
  if (peer.failure() === undefined) return at < 0 ? undefined : 'GOAWAY without a failure'
  if (at !== frames.length - 1) return 'a failure whose last word is not GOAWAY'
  if (connection.streamCount > 0) return 'streams that outlive their connection'
  return undefined
}

const kinds = (peer: Peer, out: Buffer) => {
  const events = peer.events.map((one) => one.replace(/\d+/g, '#').slice(0, 20))
  const frames = parseFrames(out).map((one) => one.type)
  return `${peer.failure()?.reason ?? ''}|${[...new Set(events)].toSorted().join()}|${[...new Set(frames)].toSorted((a, b) => a - b).join()}`
}

function feed(peer: Peer, input: Buffer, cut: (at: number) => number): Buffer {
  const outputs: Buffer[] = []
  for (let at = 0; at < input.length; ) {
    const end = Math.min(input.length, at + cut(at))
    peer.connection.receive(input, at, end)
    outputs.push(peer.connection.takeOutput() ?? none)
    at = end
  }
  return Buffer.concat(outputs)
}

function fuzzFrames(t: Test, role: 'server' | 'client', random: Random, runs: number): void {
  const finds = new Finds([...corpus('frames', `${role}.hex`), ...corpus('frames', 'found.hex')], 2_000)
  for (let n = 0; n < runs; n++) {
    const from = finds.seeds[random(finds.seeds.length)] ?? none
    // Every seed is tried as it is before it is changed.
    const input = finds.seeds[n] ?? mutate(from, frameMutations, random, finds.seeds, 2_000)
    try {
      const peer = opened(role)
      const out = feed(peer, input, () => input.length)
      const fault = wrong(peer, input, out)
      if (fault !== undefined) return void t.fail(`${fault}: ${input.toString('hex')}`)
      finds.note(input, kinds(peer, out))
      if (n % 8 !== 0) continue
      const sliced = opened(role)
      const other = feed(sliced, input, () => 1 + random(20))
      if (!other.equals(out) || sliced.events.join() !== peer.events.join())
        return void t.fail(`another result in slices: ${input.toString('hex')}`)
    } catch (error) {
      return void t.fail(`${String(error)}: ${input.toString('hex')}`)
    }
  }
  figure(t, 'fuzz frames', { role, runs, behaviours: finds.size })
  t.pass(`${runs} sequences`)
}

for (const role of ['server', 'client'] as const) {
  t.test(`no sequence of frames makes a ${role} throw, hoard or babble`, async (t) => {
    fuzzFrames(t, role, randomOf(seed + (role === 'server' ? 0 : 1)), count)
  })
}

t.test('no header block makes the decoder throw or keep more than it may', async (t) => {
  const random = randomOf(seed + 2)
  const finds = new Finds(corpus('hpack'), 2_000)
  let decoder = new HpackDecoder()
  for (let n = 0; n < count; n++) {
    const from = finds.seeds[random(finds.seeds.length)] ?? none
    const input = finds.seeds[n] ?? mutate(from, blind, random, finds.seeds, 1_000)
    try {
      // What earlier blocks have left in the table is part of the input.
      if (n % 50 === 0) decoder = new HpackDecoder()
      const decoded = decoder.decode(input, 65_536, 100)
      if (decoded.kind === 'fields') {
        const most = Math.max(8_192, 16 * input.length)
        if (decoded.bytes > most)
          return void t.fail(`${decoded.bytes} of ${input.length}: ${input.toString('hex')}`)
      } else if (decoded.kind === 'malformed') decoder = new HpackDecoder()
      const fields = decoded.kind === 'fields' ? `${Math.min(9, decoded.fields.length)}` : ''
      const reason = decoded.kind === 'malformed' ? decoded.reason : ''
      finds.note(input, `${decoded.kind} ${reason} ${fields} ${(input[0] ?? 0) >> 4}`)
    } catch (error) {
      return void t.fail(`${String(error)}: ${input.toString('hex')}`)
    }
  }
  figure(t, 'fuzz hpack', { runs: count, behaviours: finds.size })
  t.pass(`${count} blocks`)
})

t.test('whatever is encoded is decoded as it was, after whatever came before', async (t) => {
  const random = randomOf(seed + 3)
  const word = (n: number) =>
    Buffer.from(Array.from({ length: random(n) }, () => 33 + random(90))).toString('latin1')
  const decoder = new HpackDecoder()
  for (let n = 0; n < 5_000; n++) {
    const fields = Array.from({ length: 1 + random(8) }, (): Field => [word(20).toLowerCase(), word(300)])
    const decoded = decoder.decode(hpackEncode(fields), 65_536, 100)
    if (decoded.kind !== 'fields' || JSON.stringify(decoded.fields) !== JSON.stringify(fields))
      return void t.fail(JSON.stringify(fields))
  }
  t.pass('5 000 blocks')
})

t.test('H2-8 no mutated sequence over TLS reaches the process', async (t) => {
  const random = randomOf(seed + 4)
  const seeds = corpus('frames')
  const escaped: unknown[] = []
  const escape = (error: unknown) => void escaped.push(error)
  process.on('uncaughtException', escape)
  process.on('unhandledRejection', escape)
  t.teardown(() => {
    process.off('uncaughtException', escape)
    process.off('unhandledRejection', escape)
  })
  const served = await serve(t, connectOnly, limits)
  const runs = 400
  for (let n = 0; n < runs; n += 20) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const wire = await rawClient(t, served)
        const sequences = Array.from({ length: 5 }, () =>
          mutate(seeds[random(seeds.length)] ?? none, frameMutations, random, seeds, 2_000),
        )
        wire.send([hello, headers(1), ...sequences])
        // Some hang up in the middle, some are cut off.
        if (random(4) === 0) wire.socket.destroy()
        else wire.socket.end()
        await new Promise((resolve) => wire.socket.once('close', resolve))
      }),
    )
  }
  await Promise.all(served.connections.map(({ closed }) => closed))
  t.strictSame(escaped, [])
  t.ok(served.connections.every(({ tunnels }) => tunnels === 0))
  figure(t, 'fuzz over TLS', { runs, sequences: 5 * runs })
})
