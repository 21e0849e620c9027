import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { z } from 'zod'

const run = promisify(execFile)

const Report = z.object({
  end: z.object({ sum_received: z.object({ bits_per_second: z.number(), bytes: z.number() }) }),
})

export type Load = Readonly<{ name: string; connections: number; direction: 'up' | 'down' }>
/** Gbit/s of payload that arrived. */
type Measured = Readonly<{ gbps: number; bytes: number }>

/** One iperf3 run from the namespace `netns`. `up`: client → server. The first second is left out as warm-up. */
export async function iperf(
  netns: string,
  to: { host: string; port: number },
  { connections, direction }: Load,
  seconds: number,
): Promise<Measured> {
  const args = [
    '-c',
    to.host,
    '-p',
    String(to.port),
    '-t',
    String(seconds),
    '-O',
    '1',
    '-P',
    String(connections),
    '-J',
  ]
  if (direction === 'down') args.push('-R')
  const { stdout } = await run('nsenter', [`--net=${netns}`, 'iperf3', ...args], {
    maxBuffer: 64 << 20,
    timeout: (seconds + 20) * 1000,
  })
  const { bits_per_second, bytes } = Report.parse(JSON.parse(stdout)).end.sum_received
  return { gbps: bits_per_second / 1e9, bytes }
}
