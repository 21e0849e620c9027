import { familiesOf, type Family, hex, type PodRules, wire } from './intent.ts'
import { probeSet } from './iptables.ts'

/** Istio's table names; the same for pods and nodes. */
export const tableNames = ['istio-ambient-raw', 'istio-ambient-mangle', 'istio-ambient-nat'] as const

type Chain = Readonly<{ name: string; hook?: string; rules: readonly string[] }>
/** One nftables table: what we want in it, in the words that nft 1.0 lists. */
export type NftTable = Readonly<{
  name: (typeof tableNames)[number]
  sets?: readonly Readonly<{ name: string; type: string }>[]
  chains: readonly Chain[]
}>

const isProxy = `meta mark & ${hex(wire.markMask)} == ${hex(wire.proxyMark)}`
const notProxy = `meta mark & ${hex(wire.markMask)} != ${hex(wire.proxyMark)}`
const word = { ipv4: 'ip', ipv6: 'ip6' } as const
const begun = ({ phase }: PodRules) => (phase === 'joining' ? 'tcp flags syn / fin,syn,rst,ack ' : '')
const redirect = (port: number) => `counter redirect to :${port}`

function hooked(
  type: { prerouting: string; output: string },
  priority: number,
  prerouting: readonly string[],
  output: readonly string[],
): Chain[] {
  const hook = (name: 'prerouting' | 'output'): Chain => ({
    name,
    hook: `type ${type[name]} hook ${name} priority ${priority}; policy accept;`,
    rules: [`jump istio-${name}`],
  })
  return [
    hook('prerouting'),
    hook('output'),
    { name: 'istio-prerouting', rules: prerouting },
    { name: 'istio-output', rules: output },
  ]
}

/** The tables of a pod. Both families are in each. */
export function podNftTables(rules: PodRules): readonly NftTable[] {
  const filter = { prerouting: 'filter', output: 'filter' }
  const { returnMark, markMask } = wire
  const keep = hex(~markMask >>> 0)
  const mangle: NftTable = {
    name: 'istio-ambient-mangle',
    chains: hooked(
      { prerouting: 'filter', output: 'route' }, // `route`: a changed mark must change the way of the answer
      -150,
      [`${isProxy} counter ct mark set ct mark & ${keep} | ${hex(returnMark)}`],
      [`ct mark & ${hex(markMask)} == ${hex(returnMark)} counter meta mark set ct mark`],
    ),
  }
  const raw: NftTable = {
    name: 'istio-ambient-raw',
    chains: hooked(
      filter,
      -300,
      [`${notProxy} udp sport 53 counter ct zone set 1`],
      [`${isProxy} udp dport 53 counter ct zone set 1`],
    ),
  }
  const nat: NftTable = {
    name: 'istio-ambient-nat',
    chains: hooked({ prerouting: 'nat', output: 'nat' }, -100, natPrerouting(rules), natOutput(rules)),
  }
  return rules.dnsCapture ? [raw, mangle, nat] : [mangle, nat]
}

function natPrerouting(rules: PodRules): string[] {
  const each = (line: (family: Family) => string) => familiesOf(rules).map(line)
  const probe = each((f) => `meta l4proto tcp ${word[f]} saddr ${wire.probe[f]} counter accept`)
  const capture = each(
    (f) =>
      `${word[f]} daddr != ${wire.loopback[f]} tcp dport != ${wire.hbonePort} ${begun(rules)}${notProxy} ${redirect(wire.inboundPort)}`,
  )
  const virtual = rules.virtualInterfaces.flatMap((name) => [
    `iifname "${name}" meta l4proto tcp ${redirect(wire.outboundPort)}`,
    `iifname "${name}" meta l4proto tcp counter return`,
  ])
  if (rules.phase === 'leaving') return rules.ingressMode ? [] : probe
  return [...virtual, ...(rules.ingressMode ? [] : [...probe, ...capture])]
}

function natOutput(rules: PodRules): string[] {
  const each = (line: (family: Family) => string) => familiesOf(rules).map(line)
  const { returnMark, markMask, loopback } = wire
  const probe = each((f) => `meta l4proto tcp ${word[f]} daddr ${wire.probe[f]} counter accept`)
  const dns = [
    // The tables are of both families: without IPv6 rules nobody listens on ::1 either.
    `${rules.ipv6 ? '' : 'meta nfproto ipv4 '}oifname != "lo" ${notProxy} udp dport 53 ${redirect(wire.dnsPort)}`,
    ...each(
      (f) =>
        `${word[f]} daddr != ${loopback[f]} tcp dport 53 ${begun(rules)}${notProxy} ${redirect(wire.dnsPort)}`,
    ),
  ]
  const pass = [
    `meta l4proto tcp meta mark & ${hex(markMask)} == ${hex(returnMark)} counter accept`,
    ...each((f) => `oifname "lo" ${word[f]} daddr != ${loopback[f]} counter accept`),
  ]
  const capture = each(
    (f) =>
      `${rules.phase === 'joining' ? '' : 'meta l4proto tcp '}${word[f]} daddr != ${loopback[f]} ${begun(rules)}${notProxy} ${redirect(wire.outboundPort)}`,
  )
  if (rules.phase === 'leaving') return [...probe, ...pass]
  return [...probe, ...(rules.dnsCapture ? dns : []), ...pass, ...capture]
}

/** Node namespace. nft has no `socket-exists`; Istio matches the kubelet's uid instead, and so do we. */
export const hostNftTables = (families: readonly Family[], kubeletUid: number): readonly NftTable[] => [
  {
    name: 'istio-ambient-nat',
    sets: families.map((f) => ({ name: probeSet(f), type: `${f}_addr` })),
    chains: [
      {
        name: 'postrouting',
        hook: 'type nat hook postrouting priority 100; policy accept;',
        rules: ['jump istio-postrouting'],
      },
      {
        name: 'istio-postrouting',
        rules: families.map(
          (f) =>
            `meta l4proto tcp meta skuid ${kubeletUid} ${word[f]} daddr @${probeSet(f)} counter snat ${word[f]} to ${wire.probe[f]}`,
        ),
      },
    ],
  },
]

/** One atomic transaction for `nft -f -` that replaces all of our tables, and drops those not wanted. */
export function renderNft(tables: readonly NftTable[]): string {
  const drop = tableNames.map((name) => `table inet ${name}\ndelete table inet ${name}\n`).join('')
  return drop + tables.map(renderTable).join('')
}

/** Drops all of our tables; no error when there are none. */
export const renderNftRemove = (): string => renderNft([])

function renderTable({ name, sets = [], chains }: NftTable): string {
  const lines = [
    ...sets.flatMap((set) => [`  set ${set.name} {`, `    type ${set.type}`, '  }']),
    ...chains.flatMap(({ name: chain, hook, rules }) => [
      `  chain ${chain} {`,
      ...(hook === undefined ? [] : [`    ${hook}`]),
      ...rules.map((rule) => `    ${rule}`),
      '  }',
    ]),
  ]
  return `table inet ${name} {\n${lines.join('\n')}\n}\n`
}
