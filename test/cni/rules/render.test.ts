import { resolve } from 'node:path'
import t from 'tap'
import type { PodRules } from '../../../cni/rules/index.ts'
import {
  hostTables,
  podTables,
  renderRemove,
  renderReplace,
  type Saved,
} from '../../../cni/rules/iptables.ts'
import { hostNftTables, podNftTables, renderNft } from '../../../cni/rules/nftables.ts'
import { differences, normalize, parseSaved } from '../../../cni/rules/parse-iptables.ts'
import { nftDifferences, normalizeNft } from '../../../cni/rules/parse-nftables.ts'
import { emptyTables } from '../../../cni/rules/pod.ts'
import { parseMembers } from '../../../cni/rules/host.ts'

// Beside the test, not in a folder of its own at the top.
t.snapshotFile = resolve(import.meta.dirname, 'render.snapshot.cjs')

const plain: PodRules = {
  ipv6: true,
  dnsCapture: false,
  ingressMode: false,
  virtualInterfaces: [],
  phase: 'capture',
}
const variants: [string, PodRules][] = [
  ['the default', plain],
  ['IPv4 only', { ...plain, ipv6: false }],
  ['DNS capture', { ...plain, dnsCapture: true }],
  ['DNS capture, IPv4 only', { ...plain, dnsCapture: true, ipv6: false }],
  ['leaving with DNS capture', { ...plain, dnsCapture: true, phase: 'leaving' }],
  ['ingress mode', { ...plain, ingressMode: true }],
  ['virtual interfaces', { ...plain, virtualInterfaces: ['virbr0', 'br-1'] }],
  ['joining', { ...plain, phase: 'joining', dnsCapture: true }],
  ['leaving', { ...plain, phase: 'leaving' }],
]
const nothing: Saved = new Map()

for (const [name, rules] of variants) {
  t.test(`rules of a pod: ${name}`, (t) => {
    t.matchSnapshot(renderReplace(podTables(rules, 'ipv4'), nothing), 'iptables')
    if (rules.ipv6) t.matchSnapshot(renderReplace(podTables(rules, 'ipv6'), nothing), 'ip6tables')
    t.matchSnapshot(renderNft(podNftTables(rules)), 'nftables')
    t.end()
  })
}

t.test('rules of a node', (t) => {
  t.matchSnapshot(renderReplace(hostTables('ipv4'), nothing), 'iptables')
  t.matchSnapshot(renderReplace(hostTables('ipv6'), nothing), 'ip6tables')
  t.matchSnapshot(renderNft(hostNftTables(['ipv4', 'ipv6'], 0)), 'nftables')
  t.end()
})

/** What iptables-save would print after the rules went in beside somebody else's. */
function savedText(extra = ''): string {
  const text = renderReplace(podTables(plain, 'ipv4'), nothing)
  return text
    .replace('*nat\n', '*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:OTHER - [0:0]\n')
    .replace('*mangle\n', '*mangle\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n')
    .replace('COMMIT\n', `${extra}-A OTHER -j RETURN\nCOMMIT\n`)
}

const wrongs: [string, (text: string) => string, RegExp | undefined][] = [
  ['the rules as wanted, beside those of others', (text) => text, undefined],
  ['a rule is missing', (text) => text.replace(/-A ISTIO_OUTPUT .*15001\n/, ''), /rule 4 is "".*15001/],
  ['a rule is wrong', (text) => text.replace('15006', '15007'), /rule 2 is ".*15007/],
  [
    'a rule too many',
    (text) => text.replace('-A OTHER', '-A ISTIO_OUTPUT -j ACCEPT\n-A OTHER'),
    /1 rules too many/,
  ],
  ['a jump is gone', (text) => text.replace('-A PREROUTING -j ISTIO_PRERT\n', ''), /PREROUTING.*is missing/],
  [
    'a jump is doubled',
    (text) => text.replace('-A OUTPUT', '-A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT'),
    /1 jumps too many/,
  ],
  ['everything is gone', () => '', /ISTIO_PRERT is missing/],
  [
    'two rules swapped',
    (text) => text.replace(/(-A ISTIO_PRERT -s.*\n)(-A ISTIO_PRERT ! -d.*\n)/, '$2$1'),
    /rule 1 is/,
  ],
]
for (const [name, edit, want] of wrongs) {
  t.test(`the kernel compared with the intent: ${name}`, (t) => {
    const found = differences(podTables(plain, 'ipv4'), parseSaved(edit(savedText())))
    if (want) t.match(found.join('; '), want)
    else t.same(found, [])
    t.end()
  })
}

t.test('DNS rules that are no longer wanted are a difference', (t) => {
  const saved = renderReplace(podTables({ ...plain, dnsCapture: true }, 'ipv4'), nothing)
  t.match(differences(podTables(plain, 'ipv4'), parseSaved(saved)).join(), /raw.ISTIO_PRERT should not exist/)
  t.end()
})

t.test('different spellings of one rule are one rule', (t) => {
  const same: [string, string][] = [
    ['-A X -s 10.0.0.1/32 -p tcp -j ACCEPT', '-A X -p tcp -s 10.0.0.1 -j ACCEPT'],
    ['-A X ! -d ::1/128 -p tcp', '-A X -p tcp ! -d 0:0:0:0:0:0:0:1/128'],
    [
      '-A X -p tcp -m tcp ! --dport 53 -m mark ! --mark 0x539/0xfff',
      '-A X -p tcp ! --dport 53 -m mark ! --mark 0x0539/0x00000FFF',
    ],
  ]
  for (const [a, b] of same) t.equal(normalize(a), normalize(b))
  t.not(normalize('-A X ! -d 10.0.0.1 -j A'), normalize('-A X -d 10.0.0.1 -j A'))
  t.not(normalize('-A X -d 10.0.0.0/8 -j A'), normalize('-A X -d 10.0.0.0/9 -j A'))
  t.end()
})

t.test('replacing drops the jumps that are there; removing names only our own', (t) => {
  const saved = parseSaved(savedText())
  t.match(
    renderReplace(podTables(plain, 'ipv4'), saved),
    /-D PREROUTING -j ISTIO_PRERT\n-D OUTPUT -j ISTIO_OUTPUT\n-A PREROUTING/,
  )
  const text = renderRemove(saved)
  t.match(
    text,
    /\*mangle\n-D PREROUTING -j ISTIO_PRERT\n-D OUTPUT -j ISTIO_OUTPUT\n-F ISTIO_PRERT\n-F ISTIO_OUTPUT\n-X ISTIO_PRERT\n-X ISTIO_OUTPUT\nCOMMIT/,
  )
  t.notMatch(text, /OTHER/)
  t.equal(renderRemove(new Map()), '')
  t.end()
})

t.test('nft listings are compared whatever the release prints', (t) => {
  const wanted = podNftTables({ ...plain, phase: 'joining', dnsCapture: true })
  const listing = renderNft(wanted).replaceAll(/^(delete )?table inet [\w-]+$/gm, '')
  t.same(nftDifferences(wanted, listing), [])
  const other = listing
    .replaceAll('0x539', '0x00000539')
    .replaceAll('priority -100', 'priority dstnat')
    .replaceAll('counter', 'counter packets 12 bytes 720')
    .replace('& 0xfffff000 | 0x111', '& 0xfffff111 | 0x00000111')
    .replaceAll('tcp flags syn / fin,syn,rst,ack', 'tcp flags & (fin | syn | rst | ack) == syn')
  t.same(nftDifferences(wanted, other), [])
  t.match(nftDifferences(wanted, other.replace('15006', '1')).join(), /istio-prerouting line \d is/)
  t.match(nftDifferences(podNftTables(plain), listing).join(), /istio-ambient-raw should not exist/)
  t.match(nftDifferences(wanted, '').join(), /istio-ambient-nat is missing/)
  t.equal(normalizeNft('meta mark and 0xfff != 0x539'), 'meta mark & 0xfff != 0x539')
  t.end()
})

t.test('only tables without rules and chains of their own are empty', (t) => {
  const base =
    'table ip nat {\n\tchain OUTPUT {\n\t\ttype nat hook output priority -100; policy accept;\n\t}\n}\n'
  t.same(emptyTables(base + base.replace('ip nat', 'ip6 mangle')), ['ip nat', 'ip6 mangle'])
  t.same(emptyTables(base.replace('accept;', 'drop;')), [])
  t.same(emptyTables(base.replace('accept;', 'accept;\n\t\tjump X')), [])
  t.same(emptyTables(base.replace('OUTPUT', 'mine')), [])
  t.same(emptyTables(base.replace('ip nat', 'inet mine')), [])
  t.end()
})

t.test('members of both kinds of set', (t) => {
  t.same(
    [
      ...parseMembers(
        'create x hash:ip family inet comment\nadd x 10.0.0.1 comment "u-1"\nadd x 10.0.0.2 comment "u-2"\n',
      ),
    ],
    [
      ['10.0.0.1', 'u-1'],
      ['10.0.0.2', 'u-2'],
    ],
  )
  t.same(
    [...parseMembers('elements = { fd00::1 comment "a",\n  fd00::2 comment "b" }')],
    [
      ['fd00::1', 'a'],
      ['fd00::2', 'b'],
    ],
  )
  t.end()
})
