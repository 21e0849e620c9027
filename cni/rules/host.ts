import { isIpv6, type Ip, MeshError, parseIp } from '#base'
import type { Netns } from '#linux'
import { type Backend, iptablesProgram } from './backend.ts'
import type { Family } from './intent.ts'
import { hostTables, probeSet, renderRemove, renderReplace } from './iptables.ts'
import { hostNftTables, renderNft, renderNftRemove } from './nftables.ts'
import { differences, parseSaved } from './parse-iptables.ts'
import { nftDifferences } from './parse-nftables.ts'
import { type Command, run, tryRun } from './run.ts'

/** An address of an enrolled pod; the pod's UID tells whose it is when the address is soon given to another. */
export type Member = Readonly<{ address: Ip; uid: string }>
type Members = ReadonlyMap<Ip, string>

/** What the rules of a node depend on. */
export type HostOptions = Readonly<{
  backend: Backend
  ipv6: boolean
  /** Whose packets are probes, where only the uid can be matched (nftables). */
  kubeletUid: number
  /** The node's namespace; that of this process when left out. */
  netns?: Netns
}>

/**
 * The node's side of probe exemption: a set with the addresses of enrolled
 * pods, and a rule that gives the kubelet's packets to them the probe address as source. Calls run one after the other.
 */
export class HostRules {
  readonly #options: HostOptions
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: HostOptions) {
    this.#options = options
  }

  /** Makes sets and rules exist; reads back. Idempotent. True when it had to: the sets may be empty then. */
  setUp(signal: AbortSignal): Promise<boolean> {
    return this.#next(async () => {
      if ((await this.#differences(signal)).length === 0) return false
      await this.#apply(signal)
      const wrong = await this.#differences(signal)
      if (wrong.length > 0)
        throw new MeshError('syscall-failed', { message: `the node did not take the rules: ${wrong[0]}` })
      return true
    })
  }

  /** How the node differs from what it should have, apart from the members. */
  verify(signal: AbortSignal): Promise<readonly string[]> {
    return this.#next(() => this.#differences(signal))
  }

  /** Makes these addresses belong to the pod, and no others (Istio re-asserts them whenever a pod's addresses change). */
  put(uid: string, addresses: readonly Ip[], signal: AbortSignal): Promise<void> {
    return this.#change(signal, (held) => ({
      drop: [...held].filter(([ip, owner]) => owner === uid && !addresses.includes(ip)).map(([ip]) => ip),
      add: addresses.map((address) => ({ address, uid })),
    }))
  }

  /** Takes out what belongs to the pod, not what its address belongs to by now. */
  remove(uid: string, signal: AbortSignal): Promise<void> {
    return this.#change(signal, (held) => ({
      drop: [...held].filter(([, owner]) => owner === uid).map(([ip]) => ip),
      add: [],
    }))
  }

  /** Makes the sets hold exactly these. */
  sync(members: readonly Member[], signal: AbortSignal): Promise<void> {
    return this.#change(signal, (held) => ({
      drop: [...held.keys()].filter((ip) => !members.some(({ address }) => address === ip)),
      add: members,
    }))
  }

  /** Removes everything of ours from the node. */
  tearDown(signal: AbortSignal): Promise<void> {
    const { backend } = this.#options
    return this.#next(async () => {
      if (backend.kind === 'nftables') {
        await this.#run(['nft', '-f', '-'], signal, renderNftRemove())
        return
      }
      for (const family of this.#families()) {
        const text = renderRemove(await this.#save(family, signal))
        if (text !== '') await this.#restore(family, text, signal)
        await tryRun(['ipset', 'destroy', probeSet(family)], { netns: this.#options.netns, signal })
      }
    })
  }

  #run(command: Command, signal: AbortSignal, input = ''): Promise<string> {
    return run(command, { netns: this.#options.netns, input, signal })
  }

  #families(): readonly Family[] {
    return this.#options.ipv6 ? ['ipv4', 'ipv6'] : ['ipv4']
  }

  /** Read, decide, write: not to be mixed with another of the kind. */
  #next<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(task)
    this.#last = result.catch(() => undefined)
    return result
  }

  #change(
    signal: AbortSignal,
    decide: (held: Members) => { drop: readonly Ip[]; add: readonly Member[] },
  ): Promise<void> {
    return this.#next(async () => {
      for (const family of this.#families()) {
        const ours = (address: Ip) => isIpv6(address) === (family === 'ipv6')
        const held = await this.#members(family, signal)
        const { drop, add } = decide(held)
        const fresh = add.filter(({ address, uid }) => ours(address) && held.get(address) !== uid)
        // An address that changes hands is dropped too: the comment of an element cannot be changed everywhere.
        const gone = [...drop, ...fresh.map(({ address }) => address).filter((ip) => held.has(ip))]
        await this.#write(family, gone.filter(ours), fresh, signal)
      }
    })
  }

  async #members(family: Family, signal: AbortSignal): Promise<Members> {
    const name = probeSet(family)
    if (this.#options.backend.kind === 'nftables')
      return parseMembers(await this.#run(['nft', 'list', 'set', 'inet', table, name], signal))
    return parseMembers(await this.#run(['ipset', 'save', name], signal))
  }

  async #write(
    family: Family,
    drop: readonly Ip[],
    add: readonly Member[],
    signal: AbortSignal,
  ): Promise<void> {
    if (drop.length + add.length === 0) return
    const name = probeSet(family)
    if (this.#options.backend.kind === 'nftables') {
      const lines = [
        ...drop.map((ip) => `delete element inet ${table} ${name} { ${ip} }`),
        ...add.map(({ address, uid }) => `add element inet ${table} ${name} { ${address} comment "${uid}" }`),
      ]
      await this.#run(['nft', '-f', '-'], signal, `${lines.join('\n')}\n`)
      return
    }
    const lines = [
      ...drop.map((ip) => `del ${name} ${ip}`),
      ...add.map(({ address, uid }) => `add ${name} ${address} comment "${uid}"`),
    ]
    await this.#run(['ipset', '-exist', 'restore'], signal, `${lines.join('\n')}\n`)
  }

  async #differences(signal: AbortSignal): Promise<string[]> {
    const { backend, kubeletUid } = this.#options
    if (backend.kind === 'nftables') {
      const listing = await this.#run(['nft', 'list', 'ruleset'], signal)
      return nftDifferences(hostNftTables(this.#families(), kubeletUid), listing)
    }
    const all = this.#families().map(async (family) => {
      const set = await tryRun(['ipset', '-t', 'list', probeSet(family)], {
        netns: this.#options.netns,
        signal,
      })
      const rules = differences(hostTables(family), await this.#save(family, signal))
      return [...(set === undefined ? [`ipset ${probeSet(family)} is missing`] : []), ...rules]
    })
    return (await Promise.all(all)).flat()
  }

  async #apply(signal: AbortSignal): Promise<void> {
    const { backend, kubeletUid } = this.#options
    if (backend.kind === 'nftables') {
      await this.#run(['nft', '-f', '-'], signal, renderNft(hostNftTables(this.#families(), kubeletUid)))
      return
    }
    for (const family of this.#families()) {
      const type = `hash:ip family ${family === 'ipv4' ? 'inet' : 'inet6'} comment`
      await this.#run(['ipset', '-exist', 'restore'], signal, `create ${probeSet(family)} ${type}\n`)
      await this.#restore(family, renderReplace(hostTables(family), await this.#save(family, signal)), signal)
    }
  }

  async #save(family: Family, signal: AbortSignal) {
    return parseSaved(await this.#run([iptablesProgram(this.#variant(), family, 'save')], signal))
  }

  async #restore(family: Family, input: string, signal: AbortSignal): Promise<void> {
    const program = iptablesProgram(this.#variant(), family, 'restore')
    await this.#run([program, '--noflush', '-w', '10'], signal, input)
  }

  #variant() {
    const { backend } = this.#options
    return backend.kind === 'iptables' ? backend.variant : undefined
  }
}

const table = 'istio-ambient-nat'

/** Addresses and their comments in what `ipset save` or `nft list set` print. */
export function parseMembers(text: string): Members {
  const members = new Map<Ip, string>()
  for (const [, address = '', uid = ''] of text.matchAll(/([0-9a-fA-F.:]+) comment "([^"]*)"/g)) {
    const ip = parseIp(address)
    if (ip !== undefined) members.set(ip, uid)
  }
  return members
}
