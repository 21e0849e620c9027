// RFC 7541 appendix B. The code is canonical: shorter codes first, equal lengths in order of the symbol, so the
// length of each symbol's code (0 to 255, then end-of-string) says it all.
const lengths = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
]

/**
 * The code as a tree: for each inner node the child of a 0 and that of a 1, an inner node as its number and a symbol as
 * -1 - symbol. Node 0 is the root.
 */
const children: (number | undefined)[] = [undefined, undefined]
/** Inner nodes that fewer than 8 ones lead to: padding may end there (RFC 7541 §5.2). */
const mayEnd: boolean[] = [true]

function insert(code: number, length: number, symbol: number): void {
  let node = 0
  for (let bit = length - 1; bit > 0; bit--) {
    const side = 2 * node + (Math.floor(code / 2 ** bit) % 2)
    let next = children[side]
    if (next === undefined) {
      next = mayEnd.length
      children[side] = next
      children.push(undefined, undefined)
      const depth = length - bit
      mayEnd.push(side % 2 === 1 && mayEnd[node] === true && depth < 8)
    }
    node = next
  }
  children[2 * node + (code % 2)] = -1 - symbol
}

{
  const symbols = lengths.map((_, symbol) => symbol)
  symbols.sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0) || a - b)
  let code = 0
  let before = 0
  for (const symbol of symbols) {
    const length = lengths[symbol] ?? 0
    code *= 2 ** (length - before)
    before = length
    insert(code++, length, symbol)
  }
}

const endOfString = 256
/** No symbol came to its end in these four bits. */
const noSymbol = 0xffff
/** Four bits that no string may contain: they end with end-of-string. */
const wrong = 0xffff

/** For each inner node and each four bits: where they lead, and the symbol that ends in them. No code is so short that two do. */
const nextNode = new Uint16Array(16 * mayEnd.length)
const emitted = new Uint16Array(16 * mayEnd.length).fill(noSymbol)
for (let from = 0; from < mayEnd.length; from++) {
  for (let bits = 0; bits < 16; bits++) {
    let node = from
    for (let bit = 3; bit >= 0 && node !== wrong; bit--) {
      const child = children[2 * node + ((bits >> bit) & 1)] ?? -1 - endOfString
      if (child >= 0) node = child
      else if (child === -1 - endOfString) node = wrong
      else {
        emitted[16 * from + bits] = -1 - child
        node = 0
      }
    }
    nextNode[16 * from + bits] = node
  }
}

/** Strings are decoded here; it grows to the largest that ever came. */
let scratch = Buffer.allocUnsafeSlow(1 << 10)

/** The decoded `bytes[start, end)`, one character per byte; undefined for a wrong padding or an end-of-string code. */
export function huffmanDecode(bytes: Uint8Array, start = 0, end = bytes.length): string | undefined {
  // No code is shorter than 5 bits.
  const most = Math.ceil(((end - start) * 8) / 5)
  if (most > scratch.length) scratch = Buffer.allocUnsafeSlow(2 * most)
  let used = 0
  let node = 0
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0
    for (let shift = 4; shift >= 0; shift -= 4) {
      const step = 16 * node + ((byte >> shift) & 15)
      const symbol = emitted[step] ?? noSymbol
      if (symbol !== noSymbol) scratch[used++] = symbol
      node = nextNode[step] ?? wrong
      if (node === wrong) return undefined
    }
  }
  return mayEnd[node] ? scratch.toString('latin1', 0, used) : undefined
}
