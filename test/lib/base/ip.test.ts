import fc from 'fast-check'
import t from 'tap'
import {
  cidrContains,
  formatAddress,
  ip,
  ipFromBytes,
  ipToBytes,
  parseAddress,
  parseCidr,
  parseIp,
} from '#base'
import '../../fakes/seed.ts'

const texts: [string, string | undefined][] = [
  ['10.0.0.1', '10.0.0.1'],
  ['::1', '::1'],
  ['FD00:0:0::1', 'fd00::1'],
  ['::ffff:10.0.0.1', '10.0.0.1'],
  ['::ffff:a00:1', '10.0.0.1'],
  ['fe80::1%eth0', undefined],
  ['10.1', undefined],
  ['0x7f000001', undefined],
  ['010.0.0.1', undefined],
  ['1.2.3.4.5', undefined],
  ['256.0.0.1', undefined],
  ['', undefined],
  ['example.com', undefined],
  [':::', undefined],
]
for (const [text, want] of texts)
  t.test(`parseIp(${JSON.stringify(text)})`, async (t) => t.equal(parseIp(text), want))

t.test('bytes of 4 or 16 are addresses and come back unchanged, other lengths are none', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 0, maxLength: 20 }), (bytes) => {
      const address = ipFromBytes(bytes)
      if (bytes.length !== 4 && bytes.length !== 16) return address === undefined
      const mapped = bytes.length === 16 && bytes.subarray(0, 12).join() === '0,0,0,0,0,0,0,0,0,0,255,255'
      return address !== undefined && (mapped || ipToBytes(address).join() === bytes.join())
    }),
  )
  t.equal(ipFromBytes(Uint8Array.of(127, 0, 0, 1)), '127.0.0.1')
})

const blocks: [string, string, boolean | undefined][] = [
  ['10.0.0.0/8', '10.255.0.1', true],
  ['10.0.0.0/8', '11.0.0.1', false],
  ['10.0.0.0/0', '192.168.1.1', true],
  ['10.0.0.128/25', '10.0.0.127', false],
  ['10.0.0.128/25', '10.0.0.128', true],
  ['fd00::/8', 'fd12::1', true],
  ['fd00::/9', 'fd80::1', false],
  ['0.0.0.0/0', '::1', false],
  ['::/0', '10.0.0.1', false],
  ['10.0.0.1', '10.0.0.1', true],
  ['10.0.0.1', '10.0.0.2', false],
  ['10.0.0.0/33', '10.0.0.1', undefined],
  ['10.0.0.0/', '10.0.0.1', undefined],
  ['10.0.0.0/8/8', '10.0.0.1', undefined],
  ['10.0.0.0/-1', '10.0.0.1', undefined],
  ['shop', '10.0.0.1', undefined],
]
for (const [block, address, want] of blocks)
  t.test(`${address} in ${block}`, async (t) => {
    const parsed = parseCidr(block)
    t.equal(parsed && cidrContains(parsed, ip(address)), want)
  })

t.test('socket addresses survive being written and read', async (t) => {
  for (const text of ['10.0.0.1:80', '[fd00::1]:15008']) {
    const parsed = parseAddress(text)
    t.equal(parsed && formatAddress(parsed), text)
  }
  for (const text of [
    '10.0.0.1',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    'fd00::1:80',
    '[10.0.0.1]:80',
    'a:80',
    '[::1]',
    ' 1.2.3.4:80',
  ])
    t.equal(parseAddress(text), undefined, text)
})
