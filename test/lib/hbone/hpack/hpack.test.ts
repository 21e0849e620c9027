import fc from 'fast-check'
import t from 'tap'
import { type Field, HpackDecoder } from '../../../../lib/hbone/hpack/decode.ts'
import { hpackEncode } from '../../../../lib/hbone/hpack/encode.ts'
import { huffmanDecode } from '../../../../lib/hbone/hpack/huffman.ts'
import '../../../fakes/seed.ts'

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ''), 'hex')
const decodeWith = (decoder: HpackDecoder, text: string) => decoder.decode(hex(text), 65_536, 100)
const fieldsOf = (text: string) =>
  text.split('\n').map((line) => line.trim().split(/(?<=.): /)) as unknown as Field[]

// RFC 7541 appendix C.
const requests = [
  ':method: GET\n:scheme: http\n:path: /\n:authority: www.example.com',
  ':method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache',
  ':method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value',
].map(fieldsOf)
const cookie = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'
const responses = [
  ':status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com',
  ':status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com',
  `:status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\ncontent-encoding: gzip\nset-cookie: ${cookie}`,
].map(fieldsOf)
const sequences: [string, number, Field[][], string[]][] = [
  [
    'C.3 requests as plain text',
    4096,
    requests,
    [
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ],
  ],
  [
    'C.4 requests in Huffman code',
    4096,
    requests,
    [
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ],
  ],
  [
    'C.5 responses that push each other out of a table of 256 bytes',
    256,
    responses,
    [
      `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d
       546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
      '4803 3330 37c1 c0bf',
      `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f
       6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b
       2076 6572 7369 6f6e 3d31`,
    ],
  ],
  [
    'C.6 responses in Huffman code',
    256,
    responses,
    [
      `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7
       8f0b 97c8 e9ae 82ae 43d3`,
      '4883 640e ffc1 c0bf',
      `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335
       dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
    ],
  ],
]

for (const [title, capacity, fields, blocks] of sequences) {
  t.test(`RFC 7541 ${title}`, async (t) => {
    const decoder = new HpackDecoder(capacity)
    for (const [i, block] of blocks.entries()) {
      t.match(decodeWith(decoder, block), { kind: 'fields', fields: fields[i] })
    }
  })
}

t.test('RFC 7541 C.2: each way to write a field', async (t) => {
  const cases: [string, Field][] = [
    ['400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572', ['custom-key', 'custom-header']],
    ['040c 2f73 616d 706c 652f 7061 7468', [':path', '/sample/path']],
    ['1008 7061 7373 776f 7264 0673 6563 7265 74', ['password', 'secret']],
    ['82', [':method', 'GET']],
  ]
  for (const [block, field] of cases) {
    const bytes = field[0].length + field[1].length + 32
    t.strictSame(decodeWith(new HpackDecoder(), block), { kind: 'fields', fields: [field], bytes })
  }
})

t.test('the Huffman code has one code per byte and refuses what is none', async (t) => {
  // 0x00 is 1ff8 (13 bits), 0xff is 3ffffee (26 bits), 0xf9 is ffffffe (28 bits) in RFC 7541 appendix B.
  t.equal(huffmanDecode(hex('ffc7')), '\0')
  t.equal(huffmanDecode(hex('fffffbbf')), '\xff')
  t.equal(huffmanDecode(hex('ffffffef')), '\xf9')
  t.equal(huffmanDecode(hex('')), '')
  t.equal(huffmanDecode(hex('fffffffc')), undefined, 'end of string is no byte')
  t.equal(huffmanDecode(hex('1fff')), undefined, 'padding of a whole byte')
  t.equal(huffmanDecode(hex('18')), undefined, 'padding of zeros')
})

t.test('malformed blocks are told apart from large ones', async (t) => {
  const cases: [string, string][] = [
    ['80', 'index outside of the tables'],
    ['be', 'index outside of the tables'],
    ['c3', 'index outside of the tables'],
    ['ff ff ff ff ff ff 0f', 'integer too long'],
    ['ff', 'block cut short'],
    ['400a 63', 'string beyond the block'],
    ['40 81 18 00', 'wrong Huffman code'],
    ['82 20', 'table size update after a field'],
    ['3f e2 1f', 'table size above the agreed one'],
  ]
  for (const [block, reason] of cases) {
    t.strictSame(decodeWith(new HpackDecoder(), block), { kind: 'malformed', reason }, block)
  }
})

t.test('a bomb of references is counted, not kept, and leaves the table in step', async (t) => {
  const decoder = new HpackDecoder()
  const big = hpackEncode([['x', 'y'.repeat(3000)]])
  big[0] = 0x40 // with indexing
  t.equal(decoder.decode(big, 65_536, 100).kind, 'fields')
  t.strictSame(decoder.decode(Buffer.alloc(4096, 0xbe), 65_536, 100), { kind: 'too-large' })
  t.strictSame(decoder.decode(Buffer.alloc(101, 0x82), 65_536, 100), { kind: 'too-large' }, 'too many fields')
  t.equal(decodeWith(decoder, 'be').kind, 'fields')
})

t.test('what we encode is decoded to the same fields', async () => {
  const text = fc.string({
    unit: fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)),
    maxLength: 300,
  })
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text), { maxLength: 20 }), (fields) => {
      const decoded = new HpackDecoder().decode(hpackEncode(fields), 1 << 20, 100)
      return decoded.kind === 'fields' && JSON.stringify(decoded.fields) === JSON.stringify(fields)
    }),
    { numRuns: 300 },
  )
})
