import { STATUS_CODES } from 'node:http'
import { MeshError } from '#base'
import type { RequestHead, ResponseHead } from '../exchange.ts'
import type { HeaderList } from '../header-list.ts'
import { chunked, type Framing, noBody } from './framing.ts'
import { isAuthority, isMethod, isPath } from './request-head.ts'

/** The lines of fields but for the length. They have been judged when they were parsed, or set (header-list.ts). */
function linesOf({ flat }: HeaderList): string {
  let text = ''
  for (let i = 0; i < flat.length; i += 2) {
    if (flat[i] !== 'content-length') text += `${flat[i]}: ${flat[i + 1]}\r\n`
  }
  return text
}

const lengthPattern = /^\d{1,15}$/

/** The framing of an answer with a body: as long as its content-length says, else in chunks. */
export function framingFor(headers: HeaderList): Framing {
  const told = headers.get('content-length')
  if (told === undefined || !lengthPattern.test(told)) return chunked
  const bytes = Number(told)
  return bytes === 0 ? noBody : { kind: 'length', bytes }
}

const usuallyWithBody = new Set(['POST', 'PUT', 'PATCH'])

/** A request head for HTTP/1.1. What rules have made of it is judged again: nobody writes a line of their own into it. */
export function requestText(head: RequestHead, framing: Framing): string {
  const { method, authority, path, headers, upgrade } = head
  const connect = method === 'CONNECT'
  const sound = isMethod(method) && isAuthority(authority) && (connect || isPath(path))
  if (!sound) throw new MeshError('bad-request', { message: 'request cannot be written as HTTP/1.1' })
  let text = `${method} ${connect ? authority : path} HTTP/1.1\r\nhost: ${authority}\r\n${linesOf(headers)}`
  if (framing.kind === 'chunked') text += 'transfer-encoding: chunked\r\n'
  else if (framing.kind === 'length' && (framing.bytes > 0 || usuallyWithBody.has(method))) {
    text += `content-length: ${framing.bytes}\r\n`
  }
  if (upgrade !== undefined) text += `connection: upgrade\r\nupgrade: ${upgrade}\r\n`
  // RFC 9110 §10.1.4: who sends TE says so in Connection.
  else if (headers.has('te')) text += 'connection: te\r\n'
  return `${text}\r\n`
}

/** A response head for HTTP/1.1. */
export function responseText(
  { status, headers }: ResponseHead,
  framing: Framing,
  o: Readonly<{ close: boolean; upgrade: string | undefined; head: boolean }>,
): string {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${linesOf(headers)}`
  if (framing.kind === 'chunked') text += 'transfer-encoding: chunked\r\n'
  else if (framing.kind === 'length') text += lengthLine(status, headers, framing.bytes, o.head)
  if (status === 101) text += `connection: upgrade\r\nupgrade: ${o.upgrade ?? ''}\r\n`
  else if (o.close && framing.kind !== 'raw') text += 'connection: close\r\n'
  return `${text}\r\n`
}

/** Answers that never have a body need no length, and to HEAD and with 304 it is the length of what GET gets. */
function lengthLine(status: number, headers: HeaderList, bytes: number, head: boolean): string {
  if (status < 200 || status === 204) return ''
  if (!head && status !== 304) return `content-length: ${bytes}\r\n`
  const told = headers.get('content-length')
  return told === undefined ? '' : `content-length: ${told}\r\n`
}
