import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer, Socket } from 'node:net'
import { ip } from '#base'
import type { Backend, PodRules } from '../../cni/rules/index.ts'
import { bindSocket, type Netns, openNetns, originalDst, tcpSocket } from '#linux'

export const root = process.getuid?.() === 0
type Pod = Readonly<{ name: string; netns: Netns; ipv4: string; ipv6: string }>

const exec = (...command: [string, ...string[]]) =>
  execFileSync(command[0], command.slice(1), { stdio: 'pipe', encoding: 'utf8' })

/** A node with two pods, wired as `ptp` does: a veth each, the node forwards between them. */
export class World implements Disposable {
  readonly #names: string[] = []
  readonly #open: Netns[] = []
  readonly node: Netns
  readonly a: Pod
  readonly b: Pod
  readonly #prefix: string

  readonly #onExit = () => this[Symbol.dispose]()

  constructor(prefix: string) {
    process.once('exit', this.#onExit) // also when the test ends early
    this.#prefix = `${prefix}-${process.pid}`
    try {
      this.node = this.#netns('node')
      exec('nsenter', `--net=/run/netns/${this.#prefix}-node`, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
      exec(
        'nsenter',
        `--net=/run/netns/${this.#prefix}-node`,
        'sysctl',
        '-qw',
        'net.ipv6.conf.all.forwarding=1',
      )
      this.a = this.#pod('a', 5)
      this.b = this.#pod('b', 6)
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  /** Runs a program in the namespace of `node`, `a` or `b`. */
  run(where: string, ...command: string[]): string {
    return exec('nsenter', `--net=/run/netns/${this.#prefix}-${where}`, '--', ...command)
  }

  path(where: string): string {
    return `/run/netns/${this.#prefix}-${where}`
  }

  #netns(name: string): Netns {
    exec('ip', 'netns', 'add', `${this.#prefix}-${name}`)
    this.#names.push(`${this.#prefix}-${name}`)
    for (const which of ['all', 'default']) // no two seconds of waiting for nobody to have the same address
      this.run(name, 'sysctl', '-qw', `net.ipv6.conf.${which}.accept_dad=0`)
    this.run(name, 'ip', 'link', 'set', 'lo', 'up')
    const netns = openNetns(this.path(name))
    this.#open.push(netns)
    return netns
  }

  #pod(name: string, n: number): Pod {
    const netns = this.#netns(name)
    const [ipv4, ipv6, gate4, gate6] = [
      `10.244.1.${n}`,
      `fd00:10:244:1::${n}`,
      '10.244.1.1',
      'fd00:10:244:1::1',
    ]
    this.run(
      'node',
      'ip',
      'link',
      'add',
      `v${name}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      `${this.#prefix}-${name}`,
    )
    this.run('node', 'ip', 'addr', 'add', `${gate4}/32`, 'dev', `v${name}`)
    this.run('node', 'ip', '-6', 'addr', 'add', `${gate6}/128`, 'dev', `v${name}`, 'nodad')
    this.run('node', 'ip', 'link', 'set', `v${name}`, 'up')
    this.run(name, 'ip', 'addr', 'add', `${ipv4}/32`, 'dev', 'eth0')
    this.run(name, 'ip', '-6', 'addr', 'add', `${ipv6}/128`, 'dev', 'eth0', 'nodad')
    this.run(name, 'ip', 'link', 'set', 'eth0', 'up')
    for (const [f, gate] of [
      ['-4', gate4],
      ['-6', gate6],
    ] as const) {
      this.run(name, 'ip', f, 'route', 'add', gate, 'dev', 'eth0')
      this.run(name, 'ip', f, 'route', 'add', 'default', 'via', gate, 'dev', 'eth0')
    }
    this.run('node', 'ip', 'route', 'add', ipv4, 'dev', `v${name}`)
    this.run('node', 'ip', '-6', 'route', 'add', ipv6, 'dev', `v${name}`)
    return { name, netns, ipv4, ipv6 }
  }

  [Symbol.dispose](): void {
    process.off('exit', this.#onExit)
    for (const netns of this.#open) netns[Symbol.dispose]()
    for (const name of this.#names.splice(0)) exec('ip', 'netns', 'del', name)
  }
}

const fdOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd

/** One connection as a listener saw it. */
export type Seen = Readonly<{ by: string; local: string; peer: string; meant: string }>

/** Listens in a pod and tells what it saw; answers each line with the listener's name. */
export async function listenIn(
  netns: Netns,
  by: string,
  port: number,
  seen: Seen[],
  options: { mark?: number } = {},
): Promise<Disposable> {
  const fd = tcpSocket({
    netns,
    family: 'ipv6',
    transparent: options.mark !== undefined,
    reuseAddress: true,
    ...options,
  })
  bindSocket(fd, { address: ip('::'), port })
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    const plain = (address = '') => address.replace('::ffff:', '')
    seen.push({
      by,
      local: `${plain(socket.localAddress)} ${socket.localPort}`,
      peer: plain(socket.remoteAddress),
      meant: Object.values(originalDst(fdOf(socket)) ?? { none: '' }).join(' '),
    })
    socket.on('error', () => undefined)
    socket.on('close', () => open.delete(socket))
    socket.on('data', () => socket.write(by))
  })
  server.listen({ fd })
  await once(server, 'listening')
  return {
    [Symbol.dispose]: () => {
      server.close()
      for (const socket of open) socket.destroy()
    },
  }
}

type CallOptions = { mark?: number; from?: string; timeoutMs?: number }

/** Opens a connection from `netns`. */
export function dialFrom(netns: Netns, host: string, port: number, { mark, from }: CallOptions = {}): Socket {
  const spoof = from === undefined ? {} : { transparent: true, freebind: true }
  const fd = tcpSocket({ netns, family: host.includes(':') ? 'ipv6' : 'ipv4', mark, ...spoof })
  if (from !== undefined) bindSocket(fd, { address: ip(from), port: 0 })
  return new Socket({ fd }).connect({ host, port })
}

/** Sends a line; returns who answered, or the error's code, or `timeout`. */
export async function call(
  netns: Netns,
  host: string,
  port: number,
  options: CallOptions = {},
): Promise<string> {
  const socket = dialFrom(netns, host, port, options)
  try {
    return await ask(socket, options.timeoutMs)
  } finally {
    socket.destroy()
  }
}

/** One question on an open connection. */
export async function ask(socket: Socket, timeoutMs = 20_000): Promise<string> {
  try {
    socket.write('?\n')
    const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(timeoutMs) })
    return String(answer)
  } catch (error) {
    if (!(error instanceof Error)) return 'unknown'
    return error.name === 'AbortError' ? 'timeout' : ((error as NodeJS.ErrnoException).code ?? error.message)
  }
}

export type { AddressInfo }

/** What rules can be written with. */
export const backends: Record<string, Backend> = {
  'iptables-nft': { kind: 'iptables', variant: 'nft' },
  'iptables-legacy': { kind: 'iptables', variant: 'legacy' },
  nftables: { kind: 'nftables' },
}

/** Of a pod that is captured. */
export const rules: PodRules = {
  ipv6: true,
  dnsCapture: false,
  ingressMode: false,
  virtualInterfaces: [],
  phase: 'capture',
}

/** Everything in a namespace that the rules could have left something in. */
export const everything = (world: World, where: string, backend: Backend) =>
  [
    ['ip', 'rule'],
    ['ip', '-6', 'rule'],
    ['ip', 'route', 'show', 'table', 'all'],
    ['ip', '-6', 'route', 'show', 'table', 'all'],
    ['nft', 'list', 'ruleset'],
    ...(backend.kind === 'iptables' && backend.variant === 'legacy'
      ? [['iptables-legacy-save'], ['ip6tables-legacy-save']]
      : []),
  ]
    .map((command) => world.run(where, ...command))
    .join('')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/packets \d+ bytes \d+|\[\d+:\d+\]/g, '')
