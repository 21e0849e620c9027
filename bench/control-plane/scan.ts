import { BinaryReader } from '@bufbuild/protobuf/wire'

/** What a client has to know of a response to keep its books; the resources themselves stay unread. */
export type Scanned = Readonly<{
  typeUrl: string
  nonce: string
  /** Name and version of each resource, in turn. */
  resources: readonly string[]
  removed: readonly string[]
  bytes: number
}>

/** Decodes a `DeltaDiscoveryResponse` but for the content of its resources: a hundred clients share two processors here. */
export function scan(message: Uint8Array): Scanned {
  const reader = new BinaryReader(message)
  const resources: string[] = []
  const removed: string[] = []
  let typeUrl = ''
  let nonce = ''
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (field === 2) scanResource(reader.bytes(), resources)
    else if (field === 4) typeUrl = reader.string()
    else if (field === 5) nonce = reader.string()
    else if (field === 6) removed.push(reader.string())
    else reader.skip(wire)
  }
  return { typeUrl, nonce, resources, removed, bytes: message.length }
}

function scanResource(bytes: Uint8Array, into: string[]): void {
  const reader = new BinaryReader(bytes)
  let name = ''
  let version = ''
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (field === 1) version = reader.string()
    else if (field === 3) name = reader.string()
    else reader.skip(wire)
  }
  into.push(name, version)
}
