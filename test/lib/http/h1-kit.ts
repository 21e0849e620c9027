import { readFileSync } from 'node:fs'
import { defaultHttpLimits, type HttpLimits } from '#http'
import type { Asked } from '../../../lib/http/h1/response-head.ts'
import { RequestParser, ResponseParser } from '../../../lib/http/h1/parser.ts'

/** What a codec made of bytes, with the pieces of a body joined. */
export type Seen = Readonly<{ kind: 'head' | 'body' | 'end' | 'error'; text: string }>

type Parser = RequestParser | ResponseParser

const headOf = (parser: Parser): string => {
  if (parser.head === undefined) return ''
  const { head, framing, keepAlive } = parser.head
  const line =
    'method' in head
      ? `${head.method} ${head.scheme} ${head.authority} ${head.path} ${head.upgrade ?? ''}`
      : `${head.status}`
  return `${line}|${head.headers.flat.join('|')}|${framing.kind}|${keepAlive}`
}

/** Runs pieces through a parser; the text of a body is Latin-1. */
export function eventsOf(parser: Parser, pieces: readonly Buffer[]): readonly Seen[] {
  const seen: Seen[] = []
  for (const piece of pieces) {
    let at = 0
    for (;;) {
      if (parser.idle && at === piece.length) break
      const event = parser.step(piece, at, piece.length)
      const from = parser.from
      at = parser.at
      if (event === 'more') break
      if (event === 'head') seen.push({ kind: 'head', text: headOf(parser) })
      else if (event === 'end') seen.push({ kind: 'end', text: parser.takeTrailers()?.flat.join('|') ?? '' })
      else if (event === 'error') {
        seen.push({ kind: 'error', text: `${parser.error?.status} ${parser.error?.reason}` })
        return seen
      } else {
        const last = seen.at(-1)
        const text = piece.toString('latin1', from, at)
        if (last?.kind === 'body') seen[seen.length - 1] = { kind: 'body', text: last.text + text }
        else seen.push({ kind: 'body', text })
      }
    }
  }
  return seen
}

export const requestParser = (limits: Partial<HttpLimits> = {}): RequestParser =>
  new RequestParser({ ...defaultHttpLimits, ...limits }, 'http')

export function responseParser(asked: Partial<Asked> = {}): ResponseParser {
  const parser = new ResponseParser(defaultHttpLimits)
  parser.asked = { method: 'GET', upgrade: false, ...asked }
  return parser
}

export type Case = Readonly<{ name: string; verdict: string; bytes: Buffer }>

const escapes: Readonly<Record<string, string>> = { r: '\r', n: '\n', t: '\t', '\\': '\\' }
export const unescapeBytes = (text: string): Buffer =>
  Buffer.from(
    text.replace(/\\(?:x([0-9a-f]{2})|([rnt\\]))/g, (_, hex: string | undefined, letter: string) =>
      hex === undefined ? (escapes[letter] ?? letter) : String.fromCharCode(Number.parseInt(hex, 16)),
    ),
    'latin1',
  )

/** Lines of `name | verdict | bytes`, with \r \n \t \\ \xNN in the bytes. */
export function corpusOf(file: string): readonly Case[] {
  const lines = readFileSync(new URL(`../../corpus/http1/${file}`, import.meta.url), 'utf8').split('\n')
  return lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name = '', verdict = '', ...rest] = line.split(' | ')
      return { name, verdict, bytes: unescapeBytes(rest.join(' | ')) }
    })
}
