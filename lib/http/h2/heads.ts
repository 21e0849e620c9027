import type { Field, Message } from '#hbone'
import type { RequestHead, ResponseHead } from '../exchange.ts'
import { HeaderList } from '../header-list.ts'

/** Fields without Host, and with the crumbs of a cookie joined (RFC 9113 §8.2.3). */
function headersOf({ flat }: Message): HeaderList {
  const out: string[] = []
  let cookieAt = -1
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] ?? ''
    const value = flat[i + 1] ?? ''
    if (name === 'host') continue
    if (name === 'cookie' && cookieAt >= 0) {
      out[cookieAt] = `${out[cookieAt]}; ${value}`
      continue
    }
    if (name === 'cookie') cookieAt = out.length + 1
    out.push(name, value)
  }
  return new HeaderList(out)
}

const hostOf = ({ flat }: Message): string => {
  const at = flat.findIndex((name, i) => i % 2 === 0 && name === 'host')
  return at < 0 ? '' : (flat[at + 1] ?? '')
}

/** A request as the dialect has let it pass. Extended CONNECT reads as the upgrade that it stands for. */
export function requestOf(message: Message, scheme: string): RequestHead {
  const { method = '', protocol } = message
  const head = {
    scheme: message.scheme ?? scheme,
    authority: message.authority ?? hostOf(message),
    path: message.path ?? '',
    headers: headersOf(message),
  }
  return protocol === undefined
    ? { method, ...head }
    : { method: 'GET', ...head, upgrade: protocol.toLowerCase() }
}

export const responseOf = (message: Message): ResponseHead => ({
  status: Number(message.status),
  headers: headersOf(message),
})

/** The length that a message tells of its body. */
export function lengthOf(headers: HeaderList): number | undefined {
  const told = headers.get('content-length')
  return told === undefined ? undefined : Number(told)
}

/** Fields of WebSocket's handshake that HTTP/2 has no use for (RFC 8441 §5). */
const handshake = new Set(['sec-websocket-key', 'sec-websocket-accept'])

function fieldsOf(pseudo: Field[], headers: HeaderList, upgraded: boolean): Field[] {
  for (const field of headers) if (!upgraded || !handshake.has(field[0])) pseudo.push(field)
  return pseudo
}

export function requestFields(head: RequestHead): Field[] {
  const { method, scheme, authority, path, headers, upgrade } = head
  if (upgrade === undefined && method === 'CONNECT')
    return fieldsOf(
      [
        [':method', method],
        [':authority', authority],
      ],
      headers,
      false,
    )
  const pseudo: Field[] = [
    [':method', upgrade === undefined ? method : 'CONNECT'],
    [':scheme', scheme],
    [':authority', authority],
    [':path', path],
  ]
  if (upgrade !== undefined) pseudo.push([':protocol', upgrade])
  return fieldsOf(pseudo, headers, upgrade !== undefined)
}

/** 101 is 200 where CONNECT was the upgrade. */
export function responseFields({ status, headers }: ResponseHead): Field[] {
  const upgraded = status === 101
  return fieldsOf([[':status', `${upgraded ? 200 : status}`]], headers, upgraded)
}

export const trailerFields = (trailers: HeaderList): Field[] => [...trailers]
