import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Ip, isIpv6 } from '#base'

const run = promisify(execFile)

/** Puts addresses on `lo` of the namespace that this process is in; there already is fine. */
export async function assignAddresses(addresses: readonly Ip[], signal: AbortSignal): Promise<void> {
  await run('ip', ['link', 'set', 'lo', 'up'], { signal })
  for (const address of addresses) {
    const [family, length, ...flags] = isIpv6(address) ? ['-6', 128, 'nodad'] : ['-4', 32]
    await run('ip', [family, 'addr', 'replace', `${address}/${length}`, 'dev', 'lo', ...flags].map(String), {
      signal,
    })
  }
}
