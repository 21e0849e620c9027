/** What of a client hello is read at most; a longer one has no name for us. */
export const maxHelloBytes = 16 << 10

/** `name`: '' where the client names nobody, or what it sends is no client hello. */
type HelloVerdict =
  | Readonly<{
      kind: 'name'
      name: string
    }> /** It is not all here, and will not be before there are `enough` bytes. */
  | Readonly<{ kind: 'more'; enough: number }>

const none: HelloVerdict = { kind: 'name', name: '' }

/** The server name in a TLS client hello (RFC 8446 §4.1.2, RFC 6066 §3), which may come in pieces and several records. */
export function serverNameOf(bytes: Buffer): HelloVerdict {
  const hello = handshakeOf(bytes)
  if (hello === undefined) return none
  if (hello.length < 4) return { kind: 'more', enough: bytes.length + 1 }
  if (hello[0] !== 1) return none
  const length = hello.readUIntBE(1, 3)
  if (length > maxHelloBytes) return none
  const missing = 4 + length - hello.length
  if (missing > 0) return { kind: 'more', enough: bytes.length + missing }
  return { kind: 'name', name: nameIn(hello.subarray(4, 4 + length)) }
}

/** The handshake's bytes out of their records, as far as they have come; undefined for what is no handshake. */
function handshakeOf(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = []
  for (let at = 0; at + 5 <= bytes.length; ) {
    if (bytes[at] !== 22 || bytes[at + 1] !== 3) return parts.length === 0 ? undefined : Buffer.concat(parts)
    const end = at + 5 + bytes.readUInt16BE(at + 3)
    parts.push(bytes.subarray(at + 5, end))
    at = end
  }
  return Buffer.concat(parts)
}

/** '' for whatever does not hold what its lengths say. */
function nameIn(hello: Buffer): string {
  let at = 34 // version and random
  const skip = (lengthBytes: 1 | 2): boolean => {
    if (at + lengthBytes > hello.length) return false
    at += lengthBytes + hello.readUIntBE(at, lengthBytes)
    return at <= hello.length
  }
  if (!skip(1) || !skip(2) || !skip(1)) return '' // session, suites, compression
  at += 2
  while (at + 4 <= hello.length) {
    const [type, length] = [hello.readUInt16BE(at), hello.readUInt16BE(at + 2)]
    const data = hello.subarray(at + 4, at + 4 + length)
    if (type === 0 && data.length === length && length > 5 && data[2] === 0) {
      const name = data.subarray(5, 5 + data.readUInt16BE(3)).toString('latin1')
      return /^[A-Za-z0-9._-]{1,253}$/.test(name) ? name.toLowerCase() : ''
    }
    at += 4 + length
  }
  return ''
}
