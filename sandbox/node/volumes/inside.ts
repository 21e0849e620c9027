import { lstat, realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/**
 * Where `path` really is once all links are followed, also when its last parts do not exist yet; undefined where that is
 * not in `root`. A container may have made the links, and what is made or mounted there is made by the machine's root.
 */
export async function realPathInside(root: string, path: string): Promise<string | undefined> {
  const base = await realpath(root)
  let missing = ''
  for (let there = path; ; there = dirname(there)) {
    const found = await realpath(there).catch(() => undefined)
    if (found !== undefined) {
      const whole = join(found, missing)
      return whole === base || whole.startsWith(`${base}/`) ? whole : undefined
    }
    // A link to nowhere: what is made through it would be made there.
    if (await lstat(there).catch(() => undefined)) return undefined
    missing = join(basename(there), missing)
  }
}
