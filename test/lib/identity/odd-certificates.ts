import type { KeyObject } from 'node:crypto'
import { createPrivateKey } from 'node:crypto'
import { bits, boolean, extension, implicit, type Node, sequence } from '../../../lib/identity/asn1.ts'
import { firstDer } from '../../../lib/identity/pem.ts'
import { buildCertificate, ids, type Issuer, name } from '../../../lib/identity/issue.ts'

/** Ready-made extensions, well-formed and otherwise. */
export const ext = {
  leaf: extension(ids.basicConstraints, true, sequence()),
  authority: extension(ids.basicConstraints, true, sequence(boolean(true))),
  signs: extension(ids.keyUsage, true, bits(Buffer.from([0x80]), 7)),
  agrees: extension(ids.keyUsage, true, bits(Buffer.from([0x08]), 3)),
  certifies: extension(ids.keyUsage, true, bits(Buffer.from([0x84]), 2)),
  revokes: extension(ids.keyUsage, true, bits(Buffer.from([0x82]), 1)),
  names: (...names: (readonly [tag: number, text: string])[]): Node =>
    extension(
      ids.altNames,
      true,
      sequence(...names.map(([tag, text]) => implicit(tag, Buffer.from(text, 'latin1')))),
    ),
}

/** A leaf with exactly these extensions, signed by `issuer`. Issuer names are those of `createRoot`. */
export const oddLeaf = (
  issuer: Issuer,
  organization: string,
  publicKey: KeyObject,
  extensions: readonly Node[],
): string =>
  buildCertificate({
    signer: createPrivateKey(issuer.keyPem),
    issuer: name([organization], undefined),
    subject: name([], undefined),
    publicKey,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    extensions,
  })

export const derOf = (pem: string): Buffer => firstDer(pem, 'CERTIFICATE') ?? Buffer.alloc(0)
