import type { Cidr } from '#base'
import type { AddressKey } from './subject.ts'

/** Is an address in any of the blocks? Neighbours are merged, so that a long list costs its logarithm. */
export function anyBlock(blocks: readonly Cidr[]): (address: AddressKey) => boolean {
  const inV4 = covering(blocks.filter(({ bytes }) => bytes.length === 4).map(v4Range))
  const inV6 = covering(blocks.filter(({ bytes }) => bytes.length === 16).map(v6Range))
  return (address) => (typeof address === 'number' ? inV4(address) : inV6(address))
}

type Range<T> = readonly [first: T, last: T]

function v4Range({ bytes, length }: Cidr): Range<number> {
  const number = bytes.reduce((sum, byte) => sum * 256 + byte, 0)
  const size = 2 ** (32 - length)
  const first = number - (number % size)
  return [first, first + size - 1]
}

function v6Range({ bytes, length }: Cidr): Range<string> {
  const bound = (fill: number) =>
    Buffer.from(
      bytes.map((byte, i) => {
        const kept = Math.min(8, Math.max(0, length - i * 8))
        const mask = (0xff00 >> kept) & 0xff
        return (byte & mask) | (fill & ~mask & 0xff)
      }),
    ).toString('hex')
  return [bound(0), bound(0xff)]
}

function covering<T extends AddressKey>(ranges: readonly Range<T>[]): (key: T) => boolean {
  const firsts: T[] = []
  const lasts: T[] = []
  for (const [first, last] of ranges.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) {
    const end = lasts.at(-1)
    if (end === undefined || end < first) {
      firsts.push(first)
      lasts.push(last)
    } else if (last > end) lasts[lasts.length - 1] = last
  }
  return (key) => {
    let low = 0 // the number of ranges that begin at or before the key
    let high = firsts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((firsts[middle] ?? key) <= key) low = middle + 1
      else high = middle
    }
    const last = lasts[low - 1]
    return last !== undefined && key <= last
  }
}
