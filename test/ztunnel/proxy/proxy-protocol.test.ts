import t from 'tap'
import { ip } from '#base'
import { proxyHeader } from '../../../ztunnel/proxy/proxy-protocol.ts'

const at = (address: string, port: number) => ({ address: ip(address), port })
const signature = '0d0a0d0a000d0a515549540a'

t.test('bytes as the PROXY protocol, version 2, writes them', async (t) => {
  const identity = 'spiffe://cluster.local/ns/demo/sa/client'
  const cases: [string, Parameters<typeof proxyHeader>[0], string][] = [
    [
      'IPv4',
      { source: at('10.0.0.1', 1234), destination: at('10.96.0.10', 80), identity: undefined },
      `${signature}2111000c0a0000010a60000a04d20050`,
    ],
    [
      'IPv6',
      { source: at('fd00::1', 1), destination: at('fd96::10', 65535), identity: undefined },
      `${signature}21210024fd000000000000000000000000000001fd9600000000000000000000000000100001ffff`,
    ],
    [
      'with the identity',
      { source: at('10.0.0.1', 1234), destination: at('10.96.0.10', 80), identity },
      `${signature}211100370a0000010a60000a04d20050d00028${Buffer.from(identity).toString('hex')}`,
    ],
    [
      'a source of the other family, as IPv6',
      { source: at('10.0.0.1', 1234), destination: at('fd96::10', 80), identity: undefined },
      `${signature}2121002400000000000000000000ffff0a000001fd96000000000000000000000000001004d20050`,
    ],
  ]
  for (const [name, header, want] of cases) t.equal(proxyHeader(header).toString('hex'), want, name)
})
