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
const endOfString = 256
const maxLength = 30

/** Symbols in order of their codes. */
const symbols = Uint16Array.from(
  lengths.map((_, symbol) => symbol).sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0) || a - b),
)
/** Per length: the first code, how many there are, and where their symbols begin. */
const firstCode = new Uint32Array(maxLength + 1)
const counts = new Uint16Array(maxLength + 1)
const firstSymbol = new Uint16Array(maxLength + 1)
for (const length of lengths) counts[length] = (counts[length] ?? 0) + 1
for (let length = 1, code = 0, at = 0; length <= maxLength; length++) {
  code *= 2
  firstCode[length] = code
  firstSymbol[length] = at
  code += counts[length] ?? 0
  at += counts[length] ?? 0
}

/** The decoded string, one character per byte; undefined for a wrong padding or an end-of-string code. */
export function huffmanDecode(bytes: Uint8Array): string | undefined {
  // No code is shorter than 5 bits.
  const out = Buffer.allocUnsafe(Math.ceil((bytes.length * 8) / 5))
  let used = 0
  let code = 0
  let length = 0
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1)
      length++
      const offset = code - (firstCode[length] ?? 0)
      if (offset < (counts[length] ?? 0)) {
        const symbol = symbols[(firstSymbol[length] ?? 0) + offset] ?? endOfString
        if (symbol === endOfString) return undefined
        out[used++] = symbol
        code = 0
        length = 0
      } else if (length === maxLength) return undefined
    }
  }
  // Padding is fewer than 8 bits, all of them ones (RFC 7541 §5.2).
  return length < 8 && code === 2 ** length - 1 ? out.toString('latin1', 0, used) : undefined
}
