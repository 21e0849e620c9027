// What idle tunnels cost a proxy: 10 000 of them, from both ends, in a process of its own.
import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { client, dial, poolOf, serve, server, towards, until } from '../lib/hbone/support.ts'
import { figure } from './h2-attack-kit.ts'
import { type Figures, kib, startVictim } from './h2-victim-kit.ts'

// On a busy machine.
t.setTimeout(200_000)

const tunnels = 10_000
const maxBytes = 15 << 10

/** An application that takes connections and says nothing. */
async function quietApp(t: Test): Promise<number> {
  const sockets = new Set<{ destroy(): void }>()
  const listener = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  listener.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
  await once(listener, 'listening')
  t.teardown(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = listener.address()
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

/** Runs `open` so often, 200 at a time. */
async function crowd(n: number, open: () => Promise<unknown>): Promise<void> {
  let left = n
  const one = async () => {
    while (left-- > 0) await open()
  }
  await Promise.all(Array.from({ length: 200 }, one))
}

function judge(t: Test, end: string, before: Figures, after: Figures) {
  const each = (key: keyof Figures) => (after[key] - before[key]) / tunnels
  figure(t, 'idle tunnels', {
    end,
    tunnels,
    rssKib: kib(each('rss')),
    heapKib: kib(each('heapUsed')),
    externalKib: kib(each('external')),
  })
  t.ok(after.fds - before.fds >= tunnels, 'each has a socket of its application')
  t.equal(after.waiting, 0)
  t.ok(each('rss') <= maxBytes, `${kib(each('rss'))} KiB each`)
}

t.test(`${tunnels} idle tunnels cost the accepting proxy at most 15 KiB each`, async (t) => {
  const app = await quietApp(t)
  const victim = await startVictim(t, { role: 'server', own: server, peer: client, to: 0 })
  const pool = poolOf(t)
  const open = () => pool.connect({ ...towards(victim.address), authority: `10.0.0.1:${app}` })
  await open()
  const before = await victim.measure()
  await crowd(tunnels, open)
  judge(t, 'server', before, await victim.measure())
})

t.test(`${tunnels} idle tunnels cost the connecting proxy at most 15 KiB each`, async (t) => {
  const far = await serve(t, (tunnel) => tunnel.accept())
  const victim = await startVictim(t, { role: 'client', own: client, peer: server, to: far.address.port })
  const sockets: { destroy(): void }[] = []
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  const open = async () => void sockets.push(await dial(victim.address))
  await open()
  await until(() => far.tunnels.length === 1)
  const before = await victim.measure()
  await crowd(tunnels, open)
  await until(() => far.tunnels.length === tunnels + 1, 120_000)
  judge(t, 'client', before, await victim.measure())
})
