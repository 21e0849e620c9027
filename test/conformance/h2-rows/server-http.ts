import { type Field } from '../../../lib/hbone/hpack/decode.ts'
import { hpackEncode } from '../../../lib/hbone/hpack/encode.ts'
import { data, frame, headers, type } from '../../lib/hbone/frames.ts'
import { echoes, ignored, type Row, status, streamError } from '../h2-kit.ts'
import { but, connectFields, getFields, request, requestEnded, text } from './requests.ts'

const open = headers(1)
const malformed = (rfc: string, must: string, fields: readonly Field[], ended = false): Row => ({
  rfc: `9113 ${rfc}`,
  must: `${must} is malformed`,
  send: ended ? requestEnded(...fields) : request(...fields),
  expect: streamError(1, 'protocolError'),
  reaches: 0,
})
const onConnect = (rfc: string, must: string, ...more: Field[]) =>
  malformed(rfc, must, [...connectFields, ...more])
const onGet = (rfc: string, must: string, fields: readonly Field[]) => malformed(rfc, must, fields, true)
const taken = (rfc: string, must: string, ...more: Field[]): Row => ({
  rfc: `9113 ${rfc}`,
  must,
  send: [request(...connectFields, ...more), text(1, 'hi')],
  expect: echoes(1, 'hi'),
  reaches: 1,
})

/** An HBONE server answers other methods, as ztunnel does, with 400 and never takes a body of theirs. */
const refused = (method: string, ...after: Buffer[]): Row => ({
  rfc: '9113 §8.1',
  must: `${method} is answered: HBONE refuses it with 400`,
  send: [headers(1, after.length > 0 ? 0 : 1, hpackEncode(but(getFields, ':method', method))), ...after],
  expect: status(1, 400),
  reaches: 1,
})
const trailers = (flags: number, ...fields: Field[]) => headers(1, flags, hpackEncode(fields))

const exchanges: readonly Row[] = [
  refused('GET'),
  refused('HEAD'),
  refused('OPTIONS'),
  refused('POST', text(1, 'body', 1)),
  refused('PUT', text(1, 'body'), trailers(1, ['x-checksum', '1'])),
  {
    rfc: '9113 §8.1',
    must: 'a second HEADERS without END_STREAM is malformed',
    send: [open, trailers(0, ['x', 'y'])],
    expect: streamError(1, 'protocolError'),
  },
  {
    rfc: '9113 §8.1',
    must: 'pseudo fields in trailers are malformed',
    send: [open, trailers(1, [':path', '/'])],
    expect: streamError(1, 'protocolError'),
  },
  {
    rfc: '9113 §8.1.1',
    must: 'a content-length with no content is malformed',
    send: requestEnded(...but(getFields, ':method', 'POST'), [':method', 'POST'], ['content-length', '1']),
    expect: streamError(1, 'protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §8.1.1',
    must: 'content that is not as long as its content-length never counts: the request has been refused',
    send: [request(...but(getFields, ':method', 'POST'), ['content-length', '1']), text(1, 'two', 1)],
    expect: status(1, 400),
  },
  {
    rfc: '9113 §8.1.1',
    must: 'a malformed request is a stream error and not one of the connection',
    send: [request(['a', 'b']), headers(3), frame(type.data, 0, 3, Buffer.from('hi'))],
    expect: streamError(1, 'protocolError'),
    reaches: 1,
  },
]

const fieldRows: readonly Row[] = [
  taken('§8.2', 'a name of every character that a token may have is taken', ["!#$%&'*+-.^_`|~09az", 'v']),
  taken('§8.2', 'a field without a value is taken', ['x-empty', '']),
  taken('§8.2', 'a value with blanks and bytes above 0x7f within is taken', ['x', 'a b\tc\xe9']),
  onConnect('§8.2.1', 'a name with a capital letter', ['X-Test', 'a']),
  onConnect('§8.2.1', 'a name with a blank', ['x test', 'a']),
  onConnect('§8.2.1', 'a name with a colon', ['x:test', 'a']),
  onConnect('§8.2.1', 'an empty name', ['', 'a']),
  onConnect('§8.2.1', 'a name with a control character', ['x\x01', 'a']),
  onConnect('§8.2.1', 'a name with DEL', ['x\x7f', 'a']),
  onConnect('§8.2.1', 'a name with a byte above 0x7f', ['x\xe9', 'a']),
  onConnect('§8.2.1', 'a value with NUL', ['x', 'a\0b']),
  onConnect('§8.2.1', 'a value with LF', ['x', 'a\nb']),
  onConnect('§8.2.1', 'a value with CR', ['x', 'a\rb']),
  onConnect('§8.2.1', 'a value that begins with a blank', ['x', ' a']),
  onConnect('§8.2.1', 'a value that ends with a tab', ['x', 'a\t']),
  onConnect('§8.2.2', 'Connection', ['connection', 'keep-alive']),
  onConnect('§8.2.2', 'Proxy-Connection', ['proxy-connection', 'keep-alive']),
  onConnect('§8.2.2', 'Keep-Alive', ['keep-alive', '5']),
  onConnect('§8.2.2', 'Transfer-Encoding', ['transfer-encoding', 'chunked']),
  onConnect('§8.2.2', 'Upgrade', ['upgrade', 'h2c']),
  onConnect('§8.2.2', 'TE of another value than trailers', ['te', 'trailers, deflate']),
  taken('§8.2.2', 'TE of trailers is taken', ['te', 'trailers']),
  taken('§8.2.3', 'cookies in several crumbs are taken', ['cookie', 'a=1'], ['cookie', 'b=2']),
]

const pseudoRows: readonly Row[] = [
  onConnect('§8.3', 'an unknown pseudo field', [':test', 'ok']),
  onConnect('§8.3', 'a pseudo field of answers', [':status', '200']),
  malformed('§8.3', 'a pseudo field after another field', [
    [':method', 'CONNECT'],
    ['x', 'y'],
    [':authority', '10.0.0.1:80'],
  ]),
  malformed('§8.3', 'a pseudo field with a capital letter', [...connectFields, [':Path', '/']]),
  onConnect('§8.3.1', 'a repeated :method', [':method', 'CONNECT']),
  onConnect('§8.3.1', 'a repeated :authority', [':authority', '10.0.0.1:80']),
  onGet('§8.3.1', 'an empty :path', but(getFields, ':path', '')),
  onGet('§8.3.1', 'a request without :method', but(getFields, ':method')),
  onGet('§8.3.1', 'a request without :scheme', but(getFields, ':scheme')),
  onGet('§8.3.1', 'a request without :path', but(getFields, ':path')),
  onGet('§8.3.1', 'a repeated :method of GET', [...getFields, [':method', 'GET']]),
  onGet('§8.3.1', 'a repeated :scheme', [...getFields, [':scheme', 'https']]),
  onGet('§8.3.1', 'a repeated :path', [...getFields, [':path', '/']]),
  onGet('§8.3.1', 'a method that is no token', but(getFields, ':method', 'G T')),
  malformed('§8.3.1', 'a host that says something else than :authority', [
    ...connectFields,
    ['host', '10.0.0.2:80'],
  ]),
  taken('§8.3.1', 'a host that says the same as :authority is taken', ['host', '10.0.0.1:80']),
]

const connectRows: readonly Row[] = [
  taken('§8.5', 'CONNECT with an authority alone opens a tunnel'),
  malformed('§8.5', 'CONNECT without :authority', [[':method', 'CONNECT']]),
  malformed('§8.5', 'CONNECT with an empty :authority', but(connectFields, ':authority', '')),
  onConnect('§8.5', 'CONNECT with :scheme', [':scheme', 'https']),
  onConnect('§8.5', 'CONNECT with :path', [':path', '/']),
  onConnect('§8.5', 'CONNECT with :protocol, which was not enabled (RFC 8441),', [':protocol', 'websocket']),
  onConnect('§8.5', 'CONNECT that announces content', ['content-length', '5']),
  taken('§8.5', 'CONNECT that announces no content is taken', ['content-length', '0']),
  {
    rfc: '9113 §8.5',
    must: 'in a tunnel HEADERS are a stream error, even as trailers',
    send: [open, text(1, 'hi'), trailers(1, ['x', 'y'])],
    expect: streamError(1, 'protocolError'),
  },
  {
    rfc: '9113 §8.5',
    must: 'END_STREAM is the FIN of one direction only',
    send: [open, data(1, 3, 1)],
    expect: ignored,
  },
  {
    rfc: '9113 §10.5.1',
    must: 'more fields than we take are an error of the stream',
    send: request(...connectFields, ...Array.from({ length: 99 }, (_, i): Field => [`x${i}`, ''])),
    expect: streamError(1, 'protocolError'),
    reaches: 0,
  },
  {
    rfc: '9113 §10.5.1',
    must: 'as many fields as we take are taken',
    send: request(...connectFields, ...Array.from({ length: 98 }, (_, i): Field => [`x${i}`, ''])),
    expect: status(1, 200),
    reaches: 1,
  },
  {
    rfc: '9113 §10.5.1',
    must: 'a block that decodes to more than we take is an error of the stream',
    send: request(...connectFields, ...['a', 'b', 'c', 'd'].map((name): Field => [name, 'v'.repeat(9_750)])),
    limits: { maxHeaderBytes: 39_150 },
    expect: streamError(1, 'protocolError'),
    reaches: 0,
  },
]

export const serverHttp: readonly Row[] = [...exchanges, ...fieldRows, ...pseudoRows, ...connectRows]
