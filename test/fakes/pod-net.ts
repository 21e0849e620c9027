import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, type Server, Socket } from 'node:net'
import { ip, isIpv6 } from '#base'
import { bindSocket, type Netns, openNetns, tcpSocket } from '#linux'

const run = (command: string, args: readonly string[], input?: string) =>
  execFileSync(command, args, { input, stdio: ['pipe', 'pipe', 'pipe'] }).toString()

/** What the node agent programs in a pod, as one nft script (facts: cluster.md §2.3). */
const rules = `
table inet mesh-nat {
  chain pre { type nat hook prerouting priority -100;
    ip daddr != 127.0.0.1 tcp dport != 15008 meta mark & 0xfff != 0x539 redirect to :15006
    ip6 daddr != ::1 tcp dport != 15008 meta mark & 0xfff != 0x539 redirect to :15006
  }
  chain out { type nat hook output priority -100;
    meta l4proto tcp meta mark & 0xfff == 0x111 accept
    oifname "lo" ip daddr != 127.0.0.1 accept
    oifname "lo" ip6 daddr != ::1 accept
    meta l4proto tcp ip daddr != 127.0.0.1 meta mark & 0xfff != 0x539 redirect to :15001
    meta l4proto tcp ip6 daddr != ::1 meta mark & 0xfff != 0x539 redirect to :15001
  }
}
table inet mesh-mangle {
  chain pre { type filter hook prerouting priority -150;
    meta mark & 0xfff == 0x539 ct mark set ct mark & 0xfffff000 | 0x111
  }
  chain out { type route hook output priority -150;
    ct mark & 0xfff == 0x111 meta mark set ct mark
  }
}
`

const sidecarRules = (group: number) => `
table inet sidecar {
  chain pre { type nat hook prerouting priority -100;
    iifname != "lo" tcp dport != 15008 redirect to :15006
  }
  chain out { type nat hook output priority -100;
    meta skgid ${group} accept
    oifname "lo" accept
    meta l4proto tcp redirect to :15001
  }
}
`

export type PodNet = Readonly<{
  name: string
  netns: Netns
  v4: string
  v6: string
  capture(): void
  /** The rules of a sidecar: all but the packets of one group. */
  captureForGroup(group: number): void
  release(): void
  /** What waits in the queue of a listener that closes goes to another one of the same port, as the node agent sets it. */
  migrateRequests(): void
}>

/** A switch with pods on it, each in its own namespace; everything is gone after dispose. */
export class FakeNetwork {
  readonly #prefix: string
  readonly #names: string[] = []
  readonly #open: Netns[] = []

  constructor(prefix: string) {
    sweep(prefix)
    this.#prefix = `${prefix}-${process.pid}`
    const fabric = this.#namespace('fab')
    run('ip', ['-n', fabric, 'link', 'add', 'br0', 'type', 'bridge'])
    run('ip', ['-n', fabric, 'link', 'set', 'br0', 'up'])
  }

  get fabric(): string {
    return `${this.#prefix}-fab`
  }

  pod(name: string, number: number): PodNet {
    const ns = this.#namespace(name)
    const [v4, v6] = [`10.99.0.${number}`, `fd99::${number}`]
    const in_ = (...args: string[]) => run('ip', ['-n', ns, ...args])
    run('ip', [
      '-n',
      this.fabric,
      'link',
      'add',
      `p${number}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      ns,
    ])
    run('ip', ['-n', this.fabric, 'link', 'set', `p${number}`, 'master', 'br0', 'up'])
    in_('addr', 'add', `${v4}/24`, 'dev', 'eth0')
    in_('addr', 'add', `${v6}/64`, 'dev', 'eth0', 'nodad')
    in_('link', 'set', 'eth0', 'up')
    // Service addresses need a route, or connect fails before it can be redirected.
    in_('route', 'add', 'default', 'via', '10.99.0.254')
    in_('route', 'add', 'default', 'via', 'fd99::fe')
    const netns = openNetns(`/run/netns/${ns}`)
    this.#open.push(netns)
    return {
      name,
      netns,
      v4,
      v6,
      capture: () => {
        in_('rule', 'add', 'fwmark', '0x111/0xfff', 'pref', '32764', 'lookup', '100')
        in_('-6', 'rule', 'add', 'fwmark', '0x111/0xfff', 'pref', '32764', 'lookup', '100')
        in_('route', 'replace', 'local', '0.0.0.0/0', 'dev', 'lo', 'table', '100')
        in_('-6', 'route', 'replace', 'local', '::/0', 'dev', 'lo', 'table', '100')
        run('nsenter', [`--net=/run/netns/${ns}`, 'nft', '-f', '-'], rules)
      },
      captureForGroup: (group) => {
        run('nsenter', [`--net=/run/netns/${ns}`, 'nft', '-f', '-'], sidecarRules(group))
      },
      release: () => {
        run('nsenter', [`--net=/run/netns/${ns}`, 'nft', 'flush', 'ruleset'])
      },
      migrateRequests: () => {
        const setting = '/proc/sys/net/ipv4/tcp_migrate_req'
        run('nsenter', [`--net=/run/netns/${ns}`, 'sh', '-c', `echo 1 > ${setting}`])
      },
    }
  }

  [Symbol.dispose](): void {
    for (const netns of this.#open) netns[Symbol.dispose]()
    for (const name of this.#names) run('ip', ['netns', 'del', name])
  }

  #namespace(name: string): string {
    const full = `${this.#prefix}-${name}`
    run('ip', ['netns', 'add', full])
    this.#names.push(full)
    run('ip', ['-n', full, 'link', 'set', 'lo', 'up'])
    return full
  }
}

/** Removes what runs of the same test left behind that were killed. */
function sweep(prefix: string): void {
  for (const name of run('ip', ['netns', 'list']).matchAll(new RegExp(`^${prefix}-(\\d+)-[a-z]+`, 'gm')))
    if (!existsSync(`/proc/${name[1]}`)) forget(name[0])
}

/** Two tests may sweep at once: it is enough that one of them finds it. */
function forget(netns: string): void {
  try {
    run('ip', ['netns', 'del', netns])
  } catch (error) {
    if (existsSync(`/run/netns/${netns}`)) throw error
  }
}

/** An app in a pod that listens on both families. */
export async function listenIn(
  netns: Netns,
  port: number,
  onSocket: (socket: Socket) => void,
): Promise<Server> {
  const fd = tcpSocket({ netns, family: 'ipv6', reuseAddress: true })
  bindSocket(fd, { address: ip('::'), port })
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    onSocket(socket)
  })
  server.listen({ fd })
  await once(server, 'listening')
  return server
}

/** An app in a pod that connects. */
export async function connectIn(netns: Netns, host: string, port: number): Promise<Socket> {
  const fd = tcpSocket({ netns, family: isIpv6(ip(host)) ? 'ipv6' : 'ipv4' })
  const socket = new Socket({ fd, allowHalfOpen: true })
  socket.connect({ host, port })
  await once(socket, 'connect', { signal: AbortSignal.timeout(20_000) })
  return socket
}

/** Sends `text`, ends, and returns all that came back. */
export async function talk(socket: Socket, text: string, ms = 20_000): Promise<string> {
  const signal = AbortSignal.timeout(ms)
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => parts.push(part))
  const ended = Promise.race([once(socket, 'end', { signal }), once(socket, 'close', { signal })])
  socket.end(text)
  await ended.finally(() => socket.destroy())
  return Buffer.concat(parts).toString()
}

/** Captures everything that crosses the switch, until `stop`, which returns the raw bytes. */
export async function captureOn(fabric: string): Promise<{ stop(): Promise<Buffer> }> {
  const args = [
    `--net=/run/netns/${fabric}`,
    'tcpdump',
    '-i',
    'br0',
    '--immediate-mode',
    '-U',
    '-w',
    '-',
    '-s',
    '0',
    'tcp',
  ]
  const child = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const parts: Buffer[] = []
  child.stdout.on('data', (part: Buffer) => parts.push(part))
  const signal = AbortSignal.timeout(20_000)
  await once(child.stderr, 'data', { signal }) // "listening on …"
  return {
    stop: async () => {
      child.kill('SIGINT')
      await once(child, 'close')
      return Buffer.concat(parts)
    },
  }
}
