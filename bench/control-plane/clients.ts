/** Delta clients of a controller, in a process of their own so that what they cost is not counted as its. Ends with its parent. */
import { readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { nodeName } from './mesh.ts'
import { type ClientOptions, DeltaClient } from './client.ts'
import { obey } from './orders.ts'

let clients: DeltaClient[] = []
let options: Omit<ClientOptions, 'number' | 'node'> | undefined
let synced = Promise.withResolvers<void>()
let awaited: Readonly<{ name: string; by: Set<DeltaClient>; done: PromiseWithResolvers<number> }> | undefined

const heard: ClientOptions['heard'] = (client, { resources }) => {
  if (clients.length > 0 && clients.every(({ syncedMs }) => syncedMs > 0)) synced.resolve()
  if (!awaited?.by.has(client) || !resources.includes(awaited.name)) return
  awaited.by.delete(client)
  if (awaited.by.size === 0) awaited.done.resolve(Number(process.hrtime.bigint()) / 1e6)
}

const open = (number: number, held: ReadonlyMap<string, string>): DeltaClient => {
  if (!options) throw new Error('not started')
  const client = new DeltaClient({ ...options, number, node: nodeName(number) }, held)
  return client
}

const sum = (of: (client: DeltaClient) => number) => clients.reduce((total, client) => total + of(client), 0)
/** Everything that this process read and wrote, TLS and frames included. */
function transferred() {
  const io = readFileSync('/proc/self/io', 'utf8')
  const of = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(io)?.[1] ?? NaN)
  return { readBytes: of('rchar'), writtenBytes: of('wchar') }
}
const digest = ({ held }: DeltaClient) =>
  createHash('sha256')
    .update(
      [...held]
        .map(([name, version]) => `${name}=${version}\n`)
        .sort()
        .join(''),
    )
    .digest('hex')

const isSame = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean => {
  if (a.size !== b.size) return false
  for (const [name, version] of a) if (b.get(name) !== version) return false
  return true
}

const untilSynced = async () => {
  await synced.promise
  const last = Math.max(...clients.map(({ syncedMs }) => syncedMs))
  return {
    lastMs: last,
    responses: sum(({ responses }) => responses),
    bytes: sum((client) => client.receivedBytes),
  }
}

obey({
  start({ count, port, rootPem, keys }) {
    options = {
      port: Number(port),
      rootPem: String(rootPem),
      keys: Array.isArray(keys) ? keys.map(String) : undefined,
      heard,
    }
    clients = Array.from({ length: Number(count) }, (_, n) => open(n, new Map()))
  },
  synced: untilSynced,
  async reconnect() {
    const before = transferred()
    synced = Promise.withResolvers()
    const old = clients
    for (const client of old) client.close()
    clients = old.map(({ held }, n) => open(n, held))
    const { lastMs, bytes } = await untilSynced()
    const after = transferred()
    return {
      lastMs,
      bytes,
      readBytes: after.readBytes - before.readBytes,
      writtenBytes: after.writtenBytes - before.writtenBytes,
    }
  },
  /** From now on it is noticed who hears of a resource; `last` tells when the last did. */
  expect({ name }) {
    awaited = { name: String(name), by: new Set(clients), done: Promise.withResolvers() }
  },
  last: () => awaited?.done.promise,
  received: () => ({
    responses: sum(({ responses }) => responses),
    bytes: sum((client) => client.receivedBytes),
  }),
  /** Of what the first client holds, and how many hold the same. */
  digest: () => {
    const [first] = clients
    if (!first) throw new Error('no clients')
    return { digest: digest(first), same: clients.filter(({ held }) => isSame(held, first.held)).length }
  },
  ready: () => true,
})
