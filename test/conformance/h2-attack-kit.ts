import { once } from 'node:events'
import type { Test } from 'tap'
import type { HboneLimits, InboundTunnel } from '#hbone'
import { frame, many, none, type } from '../lib/hbone/frames.ts'
import { echo, poolOf, readAll, serve, type Served, towards } from '../lib/hbone/support.ts'
import { preface, settingsFrame } from '../../lib/hbone/frames.ts'
import { isProbed, probePing, rawClient, type Wire } from './h2-kit.ts'

/** Preface, SETTINGS, and the acknowledgement of the server's: a peer that knows the limits. */
export const greeting = Buffer.concat([preface, settingsFrame([]), frame(type.settings, 1, 0, none)])
/** Numbers of streams in the order in which a client opens them. */
export const nth = (i: number) => 2 * i + 1
export const streams = (n: number, make: (id: number) => Buffer) => many(n, (i) => make(nth(i)))

/** A server whose upstreams never answer: what counts is how many are being dialled. */
type Dials = { started: number; active: number; most: number }
const dialling = (dials: Dials) => (tunnel: InboundTunnel) => {
  dials.started++
  dials.most = Math.max(dials.most, ++dials.active)
  tunnel.lost.addEventListener('abort', () => void dials.active--, { once: true })
}

type Scene = Readonly<{
  served: Served
  dials: Dials
  wire: Wire
  /** A tunnel of somebody else, on a connection of its own, still echoes. */
  neighbourLives(): Promise<boolean>
}>

const neighbour = '10.0.0.99:80'

/** One server, a good peer with a tunnel, and the wire of a bad one. `onTunnel` is for the bad one's tunnels. */
export async function sceneOf(
  t: Test,
  limits: Partial<HboneLimits> = {},
  onTunnel?: (tunnel: InboundTunnel) => void,
): Promise<Scene> {
  const dials: Dials = { started: 0, active: 0, most: 0 }
  const take = onTunnel ?? dialling(dials)
  const served = await serve(
    t,
    (tunnel) => (tunnel.authority === neighbour ? echo(tunnel) : take(tunnel)),
    limits,
  )
  const good = { ...towards(served.address), authority: neighbour }
  const pool = poolOf(t)
  const open = async () => {
    const stream = (await pool.connect(good)).duplex()
    stream.on('error', () => undefined)
    return stream
  }
  const before = await open()
  const wire = await rawClient(t, served)
  const neighbourLives = async () => {
    before.write('old')
    const [said] = await once(before, 'data')
    const fresh = await open()
    fresh.end('new')
    return String(said) === 'old' && (await readAll(fresh)).toString() === 'new' && pool.connections === 1
  }
  return { served, dials, wire, neighbourLives }
}

/** Far more than it takes (milliseconds, see the figures), because the machine may be doing other things. */
export const soonMs = 20_000

type Outcome = Readonly<{ closed: boolean; ms: number; error: string }>

/** Sends `bytes` and waits for the server to close the connection; `closed` is false when it rather goes on serving. */
export async function outcomeOf({ wire, served }: Scene, bytes: Buffer): Promise<Outcome> {
  const connection = served.connections[1]
  const began = performance.now()
  wire.send(bytes)
  wire.send(probePing)
  const gone = connection?.closed.then(({ error }) => ({ closed: true, error: String(error) }))
  const alive = wire.frames(isProbed).then(({ closed }) => (closed ? gone : { closed: false, error: '' }))
  const { closed, error } = (await Promise.race([gone, alive])) ?? { closed: true, error: '' }
  return { closed, error, ms: Math.round(performance.now() - began) }
}

/** A figure for the record. */
export const figure = (t: Test, name: string, figures: Record<string, unknown>): void =>
  t.comment(JSON.stringify({ attack: name, ...figures }))
