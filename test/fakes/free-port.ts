import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * A port of loopback that nobody has, for those who must know it before somebody listens. Not one that the kernel hands
 * out (32768 to 60999): among thousands of connections of other tests it would soon be taken again.
 */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < 1_000; tried++) {
    const port = randomInt(10_000, 30_000)
    if ((await isFreeForTcp(port)) && (await isFreeForUdp(port))) return port
  }
  throw new Error('no port of loopback is free')
}

async function isFreeForTcp(port: number): Promise<boolean> {
  const probe = createServer()
  const bound = once(probe, 'listening').then(
    () => true,
    () => false,
  )
  probe.listen(port, '127.0.0.1')
  if (!(await bound)) return false
  await new Promise((done) => probe.close(done))
  return true
}

async function isFreeForUdp(port: number): Promise<boolean> {
  const probe = createSocket('udp4')
  const bound = once(probe, 'listening').then(
    () => true,
    () => false,
  )
  probe.bind(port, '127.0.0.1')
  const isFree = await bound
  await new Promise<void>((done) => probe.close(done))
  return isFree
}
