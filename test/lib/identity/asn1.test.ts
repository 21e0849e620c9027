import forge from 'node-forge'
import t from 'tap'
import {
  bits,
  boolean,
  empty,
  implicit,
  integer,
  octets,
  oid,
  sequence,
  set,
  tagged,
  time,
  toDer,
  utf8,
} from '../../../lib/identity/asn1.ts'

// What is written is compared with what another library writes, or reads out of it.

const { asn1 } = forge
const hex = (bytes: string) => Buffer.from(bytes, 'latin1').toString('hex')

t.test('object identifiers', async (t) => {
  for (const dotted of [
    '1.2.840.10045.2.1',
    '2.5.29.17',
    '1.3.6.1.5.5.7.3.1',
    '2.5.29.37.0',
    '0.9.2342.19200300.100.1.25',
    '2.16.840.1.101.3.4.2.1',
    '1.3.6.1.4.1.311.20.2.3',
    '1.2.127.128.16383.16384.2097151.2097152.268435455.268435456',
  ]) {
    const wanted = hex(asn1.oidToDer(dotted).getBytes())
    t.equal(toDer(oid(dotted)).subarray(2).toString('hex'), wanted, dotted)
    t.equal(toDer(oid(dotted)).subarray(2).toString('hex'), wanted, 'and again')
  }
})

t.test('lengths take as few bytes as they can', async (t) => {
  for (const length of [0, 1, 127, 128, 255, 256, 257, 65_535, 65_536, 70_000]) {
    const bytes = Buffer.alloc(length, 7)
    const theirs = asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OCTETSTRING, false, bytes.toString('latin1'))
    const wanted = Buffer.from(asn1.toDer(theirs).getBytes(), 'latin1')
    t.ok(toDer(octets(bytes)).equals(wanted), `${length}`)
  }
})

t.test('dates: two digits of the year up to 2049, four from 2050', async (t) => {
  for (const [date, wanted] of [
    ['2026-01-02T03:04:05.678Z', '170d3236303130323033303430355a'],
    ['2000-02-29T00:00:00Z', '170d3030303232393030303030305a'],
    ['2049-12-31T23:59:59.999Z', '170d3439313233313233353935395a'],
    ['2050-01-01T00:00:00Z', '180f32303530303130313030303030305a'],
    ['9999-12-31T23:59:59Z', '180f39393939313233313233353935395a'],
  ] as const)
    t.equal(toDer(time(new Date(date))).toString('hex'), wanted, date)
})

t.test('everything else, nested', async (t) => {
  const der = toDer(
    sequence(
      integer(Buffer.from([0x00, 0xff])),
      set(boolean(true), boolean(false), empty()),
      utf8('é'),
      bits(Buffer.from([0x06]), 1),
      tagged(3, octets(Buffer.from([1]))),
      implicit(6, Buffer.from('x')),
    ),
  )
  t.equal(
    der.toString('hex'),
    ['301e', '020200ff', '31080101ff0101000500', '0c02c3a9', '03020106', 'a303040101', '860178'].join(''),
  )
})
