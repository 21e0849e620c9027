import { type Family, hex, type PodRules, wire } from './intent.ts'

/** One iptables table: what we want in it. Rules are in the words that iptables-save uses. */
export type Table = Readonly<{
  name: 'raw' | 'mangle' | 'nat'
  chains: readonly string[]
  /** Built-in chain → ours. */
  jumps: readonly Readonly<{ from: string; to: string; first?: boolean }>[]
  rules: readonly string[]
}>

const prerouting = 'ISTIO_PRERT'
const output = 'ISTIO_OUTPUT'
const postrouting = 'ISTIO_POSTRT'
/** Every chain that we may own, in a pod or on a node. */
export const ownChains: readonly string[] = [prerouting, output, postrouting]
const podChains = {
  chains: [prerouting, output],
  jumps: [
    { from: 'PREROUTING', to: prerouting },
    { from: 'OUTPUT', to: output },
  ],
} as const

const proxy = `--mark ${hex(wire.proxyMark)}/${hex(wire.markMask)}`
const returning = `${hex(wire.returnMark)}/${hex(wire.markMask)}`
const notProxy = `-m mark ! ${proxy}`
const onlySyn = '--tcp-flags FIN,SYN,RST,ACK SYN'

/** The tables of a pod for one address family; numbers are the rows of facts/ztunnel.md §7.6. */
export function podTables(rules: PodRules, family: Family): readonly Table[] {
  const nat: Table = {
    name: 'nat',
    ...podChains,
    rules: [...natPrerouting(rules, family), ...natOutput(rules, family)],
  }
  return rules.dnsCapture ? [rawTable, mangleTable, nat] : [mangleTable, nat]
}

const mangleTable: Table = {
  name: 'mangle',
  ...podChains,
  rules: [
    `-A ${prerouting} -m mark ${proxy} -j CONNMARK --set-xmark ${returning}`, // 2
    `-A ${output} -m connmark --mark ${returning} -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff`, // 7
  ],
}

/** 10, 11: the proxy's own DNS queries have the tuple of the app's, so they are tracked in a zone of their own. */
const rawTable: Table = {
  name: 'raw',
  ...podChains,
  rules: [
    `-A ${prerouting} -p udp ${notProxy} -m udp --sport 53 -j CT --zone 1`,
    `-A ${output} -p udp -m mark ${proxy} -m udp --dport 53 -j CT --zone 1`,
  ],
}

const cidr = (family: Family, address: string) => `${address}/${family === 'ipv4' ? 32 : 128}`
const redirect = (port: number) => `-j REDIRECT --to-ports ${port}`
const begun = ({ phase }: PodRules) => (phase === 'joining' ? ` ${onlySyn}` : '')

function natPrerouting(rules: PodRules, family: Family): string[] {
  const notLoopback = `! -d ${cidr(family, wire.loopback[family])}`
  const probe = `-A ${prerouting} -s ${cidr(family, wire.probe[family])} -p tcp -j ACCEPT`
  const capture = `-A ${prerouting} ${notLoopback} -p tcp -m tcp ! --dport ${wire.hbonePort}${begun(rules)} ${notProxy} ${redirect(wire.inboundPort)}`
  const virtual = rules.virtualInterfaces.flatMap((name) => [
    `-A ${prerouting} -i ${name} -p tcp ${redirect(wire.outboundPort)}`,
    `-A ${prerouting} -i ${name} -p tcp -j RETURN`,
  ])
  if (rules.phase === 'leaving') return rules.ingressMode ? [] : [probe]
  return [...virtual, ...(rules.ingressMode ? [] : [probe, capture])] // 3, 4, 5
}

function natOutput(rules: PodRules, family: Family): string[] {
  const loopback = cidr(family, wire.loopback[family])
  const probe = `-A ${output} -d ${cidr(family, wire.probe[family])} -p tcp -j ACCEPT`
  const dns = [
    `-A ${output} ! -o lo -p udp ${notProxy} -m udp --dport 53 ${redirect(wire.dnsPort)}`,
    `-A ${output} ! -d ${loopback} -p tcp -m tcp --dport 53${begun(rules)} ${notProxy} ${redirect(wire.dnsPort)}`,
  ]
  const pass = [
    `-A ${output} -p tcp -m mark --mark ${returning} -j ACCEPT`,
    `-A ${output} ! -d ${loopback} -o lo -j ACCEPT`,
  ]
  const flags = rules.phase === 'joining' ? ` -m tcp ${onlySyn}` : ''
  const capture = `-A ${output} ! -d ${loopback} -p tcp${flags} ${notProxy} ${redirect(wire.outboundPort)}`
  if (rules.phase === 'leaving') return [probe, ...pass]
  return [probe, ...(rules.dnsCapture ? dns : []), ...pass, capture] // 6, 8, 9, 12, 13, 14
}

/** Node namespace: what the kubelet sends to enrolled pods comes from the probe address, which the pods exempt. */
export const hostTables = (family: Family): readonly Table[] => [
  {
    name: 'nat',
    chains: [postrouting],
    // First, or a masquerade rule of somebody else decides before us.
    jumps: [{ from: 'POSTROUTING', to: postrouting, first: true }],
    rules: [
      // socket-exists: sent by a local socket (the kubelet), not forwarded by kube-proxy.
      `-A ${postrouting} -p tcp -m owner --socket-exists -m set --match-set ${probeSet(family)} dst -j SNAT --to-source ${wire.probe[family]}`,
    ],
  },
]

/** The ipset (or nft set) with the addresses of the enrolled pods of the node. */
export const probeSet = (family: Family): string => `istio-inpod-probes-${family === 'ipv4' ? 'v4' : 'v6'}`

/** What iptables-save shows of a table: rules per chain, in order. */
export type Saved = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>

/**
 * The text for `iptables-restore --noflush`: one atomic commit per table that replaces our chains whatever they were.
 * Declared chains are emptied by the declaration; `saved` tells which jumps are there to be dropped first.
 */
export function renderReplace(tables: readonly Table[], saved: Saved): string {
  return tables
    .map((table) => {
      const jumps = table.jumps.map(({ from, to, first }) =>
        first ? `-I ${from} 1 -j ${to}` : `-A ${from} -j ${to}`,
      )
      const chains = table.chains.map((chain) => `:${chain} - [0:0]`)
      return block(table.name, [...chains, ...dropJumps(table.name, saved), ...jumps, ...table.rules])
    })
    .join('')
}

/** The text that removes our chains and the jumps to them from every table in `saved`; empty when there is nothing. */
export function renderRemove(saved: Saved, except: readonly string[] = []): string {
  const names = [...saved.keys()].filter((name) => !except.includes(name))
  return names
    .map((name) => {
      const own = [...(saved.get(name)?.keys() ?? [])].filter((chain) => ownChains.includes(chain))
      const lines = [
        ...dropJumps(name, saved),
        ...own.map((chain) => `-F ${chain}`),
        ...own.map((chain) => `-X ${chain}`),
      ]
      return lines.length === 0 ? '' : block(name, lines)
    })
    .join('')
}

const block = (table: string, lines: readonly string[]) => `*${table}\n${lines.join('\n')}\nCOMMIT\n`

const dropJumps = (table: string, saved: Saved): string[] =>
  [...(saved.get(table) ?? [])].flatMap(([chain, rules]) =>
    ownChains.includes(chain)
      ? []
      : rules.filter((rule) => ownChains.includes(jumpOf(rule))).map((rule) => `-D ${rule.slice(3)}`),
  )

/** The target of a rule. */
export const jumpOf = (rule: string): string => / -[jg] (\S+)/.exec(rule)?.[1] ?? ''
