import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'

const Entry = z.object({ uid: z.string(), netns: z.string(), containerId: z.string().default('') })
/** Where the runtime put a pod's network namespace, as a path on the node. */
type NetnsEntry = z.infer<typeof Entry>

/** UIDs and nothing else become file names. */
const uidShape = /^[A-Za-z0-9-]{1,64}$/
const isUid = (text: string): boolean => uidShape.test(text)

/**
 * The namespaces of all pods that the plugin told us of, enrolled or not, one file each, so that an agent that was
 * restarted finds a pod whose label comes later. (Looking in /proc alone is not enough: it needs cgroup paths.)
 */
export class NetnsRegistry {
  readonly #dir: string
  readonly #entries = new Map<string, NetnsEntry>()

  constructor(runDir: string) {
    this.#dir = join(runDir, 'netns')
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(this.#dir)) {
      const entry = readEntry(join(this.#dir, name))
      if (entry && `${entry.uid}.json` === name) this.#entries.set(entry.uid, entry)
      else rmSync(join(this.#dir, name), { force: true })
    }
  }

  get(uid: string): NetnsEntry | undefined {
    return this.#entries.get(uid)
  }

  uids(): readonly string[] {
    return [...this.#entries.keys()]
  }

  /** Remembers; on disk before it returns. A pod whose sandbox was made anew has a new namespace. */
  put(entry: NetnsEntry): void {
    if (!isUid(entry.uid)) return
    this.#entries.set(entry.uid, entry)
    const file = join(this.#dir, `${entry.uid}.json`)
    writeFileSync(`${file}.tmp`, JSON.stringify(entry), { mode: 0o600 })
    renameSync(`${file}.tmp`, file)
  }

  /** Forgets a pod; with a container id only if that is still the one that it was remembered for. */
  remove(uid: string, containerId?: string): boolean {
    const entry = this.#entries.get(uid)
    if (!entry || (containerId !== undefined && entry.containerId !== containerId)) return false
    this.#entries.delete(uid)
    rmSync(join(this.#dir, `${uid}.json`), { force: true })
    return true
  }
}

function readEntry(file: string): NetnsEntry | undefined {
  try {
    return Entry.safeParse(JSON.parse(readFileSync(file, 'utf8'))).data
  } catch {
    return undefined // half a file of a crash: the next ADD or the scan of /proc will tell
  }
}
